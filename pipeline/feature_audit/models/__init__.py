"""The model contract, the shipped models, training and prediction."""
