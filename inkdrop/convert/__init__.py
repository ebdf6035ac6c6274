"""Checkpoints of other libraries to models and back; their historical quirks end here."""
