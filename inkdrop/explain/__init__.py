"""What a lecture on diffusion draws, from the user's own model and data."""
