"""The concrete phase: gates at a model's embeddings, their selector, and its training."""
