"""The embedded default ``demo``: a simulated recommender log with known truth."""

from feature_audit.datasets.demo.build import DEFAULTS, ensure_demo, make_demo
from feature_audit.datasets.demo.truth import ColumnTruth, Truth, grade

__all__ = ["DEFAULTS", "ColumnTruth", "Truth", "ensure_demo", "grade", "make_demo"]
