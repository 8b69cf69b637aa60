"""From a file on disk to a Polars frame."""
