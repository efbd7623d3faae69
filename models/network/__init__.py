"""The network that is trained, in its float phase and in deploy mode.

Open `didb_vit.py` first, which is the whole network. It is made of `layers.py`, `attention.py`,
`patch_embed.py` and `head.py`, and these of the quantisers in `quant.py`. `freeze.py` turns it into the
golden model, `checkpoint.py` writes and reads it, and `teacher.py` is a network to distil it from.
"""
