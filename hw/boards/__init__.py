"""Boards: what a family of FPGAs has that the machine itself does not know of."""
