"""Benchmarks and their results: see README.md."""
