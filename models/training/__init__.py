"""Training. Open `train.py` first, the command line, then `run.py`, the loop.

`computer.py` opens the device, `recipe.py` has the numbers of each preset, `augment.py` changes the images,
`card.py` evaluates a finished run, and `run_files.py` keeps the state of one that is not.
"""
