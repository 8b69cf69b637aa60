"""Data checks: leaks, duplicates, drift, Great Expectations."""
