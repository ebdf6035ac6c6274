"""Training: `updates` yields optimizer steps; `run` keeps them in a folder that resumes exactly."""
