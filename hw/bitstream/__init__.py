"""The flow from a board to its bitstream: yosys, nextpnr and a packer, with the result of each kept."""
