"""The mathematics of diffusion: processes, parameterizations, grids, samplers, guidance, losses."""
