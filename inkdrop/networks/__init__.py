"""Networks: modules that map (x, t, cond) to a tensor, independent of any diffusion process."""
