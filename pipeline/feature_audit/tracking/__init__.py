"""The only package that depends on MLflow: runs, registry, and the registered model's interface."""

from feature_audit.tracking.connection import address, quietly, store_may_be_lost, where_to_look
from feature_audit.tracking.parents import open_parent
from feature_audit.tracking.runs import Run, driver_run, error_note, find_run, tag_error

__all__ = [
    "Run",
    "address",
    "driver_run",
    "error_note",
    "find_run",
    "open_parent",
    "quietly",
    "store_may_be_lost",
    "tag_error",
    "where_to_look",
]
