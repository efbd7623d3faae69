"""Plan a network of stages on the next machine: block RAMs by memory and cycles by operation, by rules.

The next machine is a design of which no RTL exists yet. Its schedule was tried out in a prototype of the
compiler, whose rules `timeline` and `cycles` follow; `memories` has its memories, `limits` what it cannot
place, and `report` makes the text that ``haarlequin compile --plan`` prints.
"""
