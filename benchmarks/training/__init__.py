"""The cost of a training step, and the time until a model is good."""
