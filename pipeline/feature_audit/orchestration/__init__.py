"""Runs an audit from log to recommendation, and handles the actions that follow it."""
