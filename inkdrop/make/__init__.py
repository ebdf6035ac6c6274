"""From a request to its samples: preparing a model, and sampling."""
