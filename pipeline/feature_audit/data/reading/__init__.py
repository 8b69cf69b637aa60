"""Reading: files on disk to a Polars frame."""
