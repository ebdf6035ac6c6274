"""Autoencoders, and diffusion models on their codes."""
