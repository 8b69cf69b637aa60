"""From cells to the numbers and codes that models read."""
