"""The golden model as an ONNX file. Open `graph.py` first, which writes it. `functions.py` and
`stage_functions.py` define its operations, `export.py` is the command, and `runtime.py` runs such files.
"""
