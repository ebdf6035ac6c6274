"""The figures of a lecture on diffusion, drawn from the user's own model and data."""
