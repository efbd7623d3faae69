"""Used by all four packages of the project. Open `cli.py` first, which is around every command.

`pictures.py` makes an image file the pixels of a model, `figures.py` draws curves, `files.py` writes files
whole or not at all, `places.py` has the folders, and `stamps.py` tells whether something must be built again.
"""
