"""From a request to its samples: prepare a model, then sample."""
