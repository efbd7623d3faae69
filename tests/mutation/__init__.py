"""Mutation testing: the sources are broken in one place at a time, and a test must notice.

`mutants` finds what can be broken in a file, `folders` says which files take part and how many of their
mutants are drawn, `judge` runs the tests on a mutant, `results` keeps what came out, and `__main__` is the
command, ``make mutate``. Survivors that no test can kill are in ``equivalent.toml``, with the reason.
"""
