"""Training: `updates` is a generator of optimizer steps, `run` a folder that resumes exactly."""
