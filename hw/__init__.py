"""The accelerator's RTL in Amaranth: a block a file, each with its bench in `tests/hw`."""
