"""`make report`: one page that shows the machine, from what other commands have left.

command.py    the command line, and which sections there are
panel.py      a figure with the command that makes it, or what is missing
page.py       the page: template, style, script and the drawing library in one file
seen.py       what the model sees: images, Haar bands, attention, mistakes, confusion
cycles.py     where cycles go: the timeline of an image, operations, a roofline
area.py       where area goes and where it lies: modules, floorplan, critical path
storage.py    the memories, and how full they are
networks.py   accuracy against weights, products of bits and cycles
ladder.py     the checks, with their last results
"""
