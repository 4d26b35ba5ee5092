"""Benchmarks: one module a figure that we claim, each with its peer in the same run; `python -m bench` runs all."""
