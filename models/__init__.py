"""What is trained: configuration, network, training, freezing to integers and export to ONNX."""
