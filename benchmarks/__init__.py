"""Benchmarks of headstart: speed, accuracy, and growth with the size of the data. See README.md."""
