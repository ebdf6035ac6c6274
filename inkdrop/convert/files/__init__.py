"""Files of others, opened safely, and tools for mapping their names; no family is known here."""
