"""The concrete phase: gates on a model's embeddings, their selector, and its training."""
