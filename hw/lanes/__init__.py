"""The lanes and the blocks around them: XOR and popcount, post-processing, Haar split, sequencer, loader."""
