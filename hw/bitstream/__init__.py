"""From a board to its bitstream: yosys, nextpnr and a packer, one stage after the other, each cached."""

from pathlib import Path

BUILD = Path("build/boards")
"""A folder for each board."""
