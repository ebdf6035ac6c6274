"""Stable Diffusion's family: its folders and single files, read, built and written."""
