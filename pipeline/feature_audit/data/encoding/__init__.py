"""Encoding of raw cells as the numbers and codes that models read."""
