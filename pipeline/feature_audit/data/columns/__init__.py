"""Column roles, kinds, and how cells are parsed."""
