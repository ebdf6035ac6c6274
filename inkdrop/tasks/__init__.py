"""Tasks: what a user asks of a model; one function a file, each a short composition."""
