"""The training store: encoded rows on disk."""
