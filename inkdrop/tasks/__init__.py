"""Tasks: what a model can be used for; one file per task, each a short composition."""
