"""Tuning: compare samplers with a model's converged solution, and fit grids that come closer."""
