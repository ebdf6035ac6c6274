"""Metrics of the structure of inkdrop's own code."""
