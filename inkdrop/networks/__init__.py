"""Networks: modules that map (x, t, cond) to a tensor and never heard of diffusion."""
