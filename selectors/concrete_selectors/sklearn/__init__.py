"""The scikit-learn face: concrete selectors for tables of numbers."""
