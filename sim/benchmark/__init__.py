"""`make bench`: every figure of the project that can be measured or computed here, each next to its mark.

command.py    the command line; report.py prints all parts and writes the JSON file
figure.py     a figure and its mark, as text and for JSON
boards.py     what `make bitstream` has built: size, clock, rates, latency
simulator.py  how fast the simulated accelerator computes and is compared
computer.py   the same models on this computer's processor
"""
