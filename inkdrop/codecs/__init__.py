"""Codecs: from data space to the space in which diffusion happens, and back."""
