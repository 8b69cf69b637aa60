"""Backward elimination on a distilled surrogate network."""
