"""The scalar machine's firmware: a golden model → instructions and data of a machine with one of everything.

The array of `hw/lanes/layers.py` does not fit the smallest parts. What does is a core that runs loops, with a
multiplier, 16 XNORs and a popcount: `hw/scalar/`.

    isa.py         the core's instructions
    assembler.py   registers by name, loops as blocks
    layout.py      constants in the order of their use, and room for tensors
    parts.py       code that all of it is made of; attention.py: from Haar to context
    firmware.py    golden model → code, data, and where its tensors are when
    emulate.py     runs them, with the cycles that they take
    check.py       what was stored, compared with the golden model tensor by tensor
    program.py     all of it: `compile_model`
"""
