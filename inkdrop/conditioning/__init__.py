"""Conditioning: from prompts to the conditions that networks read."""
