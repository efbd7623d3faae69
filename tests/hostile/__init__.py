"""Damaged files for every reader of a stranger's bytes: `make hostile`. Open `engine.py` first.

`mutate.py` damages files, `limits.py` says what a reader may not do, `watched.py` runs a hunt in a process of
its own, and `readers/` has one reader per file.
"""
