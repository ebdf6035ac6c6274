"""How inkdrop's own code is laid out, in numbers."""
