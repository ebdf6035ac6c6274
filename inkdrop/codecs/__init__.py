"""Codecs: map data to the space in which diffusion runs, and back."""
