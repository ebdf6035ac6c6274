"""Stable Diffusion in its real size, compared with diffusers."""
