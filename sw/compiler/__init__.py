"""ONNX → program and tables, in small passes: read, lower, schedule, encode."""
