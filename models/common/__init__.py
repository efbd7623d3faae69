"""Used by all four packages of the project. Open `cli.py` first, which is around every command.

`pictures.py` turns an image file into the pixels that a model takes, `figures.py` draws curves, `files.py`
writes files whole or not at all, `places.py` has the folders, and `stamps.py` tells whether something must be
built again.
"""
