"""From a request to what it asks for: preparing a model, and making."""
