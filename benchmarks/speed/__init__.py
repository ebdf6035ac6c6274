"""What sampling costs besides the network, and from the shell to the picture."""
