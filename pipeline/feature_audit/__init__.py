"""Feature Audit: which of our N features can production drop, and what is the evidence?"""

__version__ = "0.1.0"
