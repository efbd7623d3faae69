"""Coverage: which conditions of the RTL, corners of the arithmetic and branches of Python the tests come to.

`rtl` finds out which statements of a design were in force, in Amaranth's simulator and in Verilator;
`benches` is the plugin of pytest that does it for every bench; `corners` counts the corners of the
arithmetic; and `__main__` is the command, ``make coverage``.
"""
