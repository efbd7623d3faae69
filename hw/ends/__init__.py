"""The multi-bit first and last layer beside the lanes: images and patch embedding, pooling and classifier."""
