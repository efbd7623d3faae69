"""The network in all its forms. Open `config.py` first, which has its shapes, then `network/didb_vit.py`, the
network that is trained, and `golden.py`, the same network in integers.
"""
