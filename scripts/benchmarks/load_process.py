"""Runs `load.main` as a process of its own: a module of its own, so that what is pickled has the
same name on both sides."""

from benchmarks.load import main

main()
