"""The lanes and what drives them: XNOR-popcount array, post-processing, Haar split, sequencer, loader."""
