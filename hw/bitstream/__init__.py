"""From a board to its bitstream: yosys, nextpnr and a packer, one stage after the other, each cached."""
