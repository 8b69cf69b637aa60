"""The models that come with the project."""
