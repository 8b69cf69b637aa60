"""``python -m feature_audit``."""

from feature_audit.cli import entry

if __name__ == "__main__":
    entry()
