"""The quality of Fashion-MNIST models, measured with a judge."""
