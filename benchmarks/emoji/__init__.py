"""How good the emoji model is."""
