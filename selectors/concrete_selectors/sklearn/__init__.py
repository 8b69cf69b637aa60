"""The scikit-learn interface: concrete selectors for numeric tables."""
