"""Tune: how near samplers come to a model's own converged answer, and grids that come nearer."""
