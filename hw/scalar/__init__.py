"""The scalar machine: a small core whose firmware runs the network, for parts too small for lanes."""
