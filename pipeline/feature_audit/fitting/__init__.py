"""One model trained on one store: the training, its cost, its cache."""
