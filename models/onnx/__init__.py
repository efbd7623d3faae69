"""ONNX: the golden model as a file, its operations as functions, and the runtime that runs it."""
