"""The network that is trained: layers in both phases, checkpoints, freezing to integers."""
