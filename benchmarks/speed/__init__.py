"""The cost of sampling beyond the network, and the time from the shell to the picture."""
