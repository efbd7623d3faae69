"""The lanes and the blocks around them: XNOR array, post-processing, Haar split, sequencer, loader."""
