"""The only package of the pipeline that knows MLflow: runs, registry, and the registered model's face."""

from feature_audit.tracking.runs import Run, connect, driver_run, find_run, open_parent, tag_error

__all__ = ["Run", "connect", "driver_run", "find_run", "open_parent", "tag_error"]
