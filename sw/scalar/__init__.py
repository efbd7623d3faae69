"""The scalar machine's firmware: a golden model → instructions and data of a machine with one of everything.

The array of `hw/layers.py` does not fit the smallest parts. What does is a core that runs loops, with a
multiplier, 16 XNORs and a popcount: `hw/scalar/`.

    isa.py         the core's instructions
    assembler.py   registers by name, loops as blocks
    firmware.py    golden model → code, data, and where its tensors are when
    emulate.py     runs them, with the cycles that they take
    check.py       what was stored, compared with the golden model tensor by tensor
    program.py     all of it: `compile_model`
"""
