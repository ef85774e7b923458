"""Chaos: the whole service as processes, killed and cut off while jobs are under way."""
