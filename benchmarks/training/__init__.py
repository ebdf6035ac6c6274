"""What training costs, and how soon a model is good."""
