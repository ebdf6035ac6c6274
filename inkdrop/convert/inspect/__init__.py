"""What a checkpoint is and what it takes, by its headers alone."""
