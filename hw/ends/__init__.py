"""The multi-bit ends beside the lanes: images in and patch embedding; pooling and classifier."""
