"""What is wrong with the data: leaks, duplicates, drift, Great Expectations."""
