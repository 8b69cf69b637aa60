"""What a column is: its role, its kind, how its cells are read."""
