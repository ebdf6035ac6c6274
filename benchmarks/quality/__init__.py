"""How good models of Fashion-MNIST are, by a judge."""
