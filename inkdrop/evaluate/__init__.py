"""How good are samples: distances between sets of features, and what judges say of pictures."""
