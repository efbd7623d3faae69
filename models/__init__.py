"""The network in all its forms: configuration, training, integer arithmetic, golden model, ONNX file."""
