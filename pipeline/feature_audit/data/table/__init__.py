"""The labelled, split table and its statistics."""
