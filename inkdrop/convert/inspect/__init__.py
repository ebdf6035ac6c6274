"""What a checkpoint is and how much memory it needs, from its headers alone."""
