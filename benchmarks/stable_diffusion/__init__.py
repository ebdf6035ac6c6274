"""Stable Diffusion at full width, beside diffusers."""
