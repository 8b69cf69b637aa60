"""HTML, Markdown and JSON of a finished audit."""
