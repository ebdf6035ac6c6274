"""Files that change a model: LoRAs and embeddings."""
