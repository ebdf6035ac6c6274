"""Everything that can be trained besides a plain diffusion model, one file each."""
