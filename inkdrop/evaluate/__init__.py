"""Evaluation of samples: distances between sets of features, and scores from classifiers."""
