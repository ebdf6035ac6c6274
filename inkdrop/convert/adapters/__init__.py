"""Files that change a model and are not models: LoRAs and embeddings."""
