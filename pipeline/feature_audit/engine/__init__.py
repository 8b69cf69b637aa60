"""Execution of trainings and trials: in this process, in several processes, or on a Ray cluster."""

from feature_audit.engine.jobs import Engine, Job, Watch
from feature_audit.engine.local import LocalEngine
from feature_audit.engine.opening import check_engine, opened, opened_ranks
from feature_audit.engine.process import job_threads, tune_process

__all__ = [
    "Engine",
    "Job",
    "LocalEngine",
    "Watch",
    "check_engine",
    "job_threads",
    "opened",
    "opened_ranks",
    "tune_process",
]
