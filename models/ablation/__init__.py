"""Which parts of the network help: a grid of configurations, trained alike, in one table.

Open `grid.py` first, which has the configurations, then `ablate.py`, which is the command.
"""
