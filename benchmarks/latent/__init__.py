"""Autoencoders, and diffusion on their codes."""
