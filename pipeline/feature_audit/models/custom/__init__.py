"""Models of users: attaching, checks, lookup and source code."""
