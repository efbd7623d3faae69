"""The design space of accelerators: sizes for a model, what they cost, and which are best.

sizes.py    the smallest accelerator with given lanes and words that computes a model
measure.py  machines that were synthesised, in runs.json
cost.py     LUT4 and flip-flops fitted to these, and a guess of the clock
front.py    every choice on a board, the Pareto front, and the best one
"""
