"""Training a model on a store: the training, its cost, its cache."""
