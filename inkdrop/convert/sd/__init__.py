"""Stable Diffusion's U-Net models: folders and single files, read, built and written."""
