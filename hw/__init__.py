"""The accelerator's RTL in Amaranth: one block per file, each with its bench in `tests/hw`."""
