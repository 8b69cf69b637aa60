"""Paired statistics and the verdict."""
