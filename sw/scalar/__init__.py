"""The scalar machine's firmware: a golden model becomes the instructions and data of a single small core.

The array of lanes does not fit the smallest parts. `hw/scalar/` does: a core that runs loops, with one
multiplier, 16 XNORs and a popcount; its instructions are `hw/scalar/isa.py`. Start with `program.py`, whose
`compile_model` does everything below.

    layout.py      where constants and tensors lie in the data memory
    assembler.py   registers by name, loops as blocks
    idioms.py      short pieces of code that every part of the firmware uses
    attention.py   the code of a layer from Haar to context
    firmware.py    the rest of the code; `Firmware` also says when each tensor is complete
    emulate.py     runs the code, and counts its cycles
    check.py       compares what the code stores with the golden model, tensor by tensor
"""
