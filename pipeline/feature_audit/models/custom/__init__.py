"""A team's own model: attached, checked, found and kept."""
