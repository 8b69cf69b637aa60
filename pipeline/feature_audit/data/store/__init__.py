"""The encoded rows on disk."""
