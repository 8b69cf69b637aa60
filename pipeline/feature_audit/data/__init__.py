"""Log in, training store out."""
