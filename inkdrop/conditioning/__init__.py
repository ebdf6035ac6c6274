"""Conditioning: from what a person writes to what a network is told."""
