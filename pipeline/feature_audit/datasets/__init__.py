"""Data sets that come with the project."""
