"""Speed of scoring raw rows with the registered model's code path, measured for two models in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from feature_audit.config import AuditConfig
from feature_audit.data import Encoders, Prepared, example_rows
from feature_audit.fitting.trained import load_weights
from feature_audit.models import scores
from feature_audit.schema import ModelSchema

#: Rows per batch if the log has as many, the minimum for wide logs, and the maximum number of cells per batch.
_BATCH, _FEW, _CELLS = 1_000, 100, 1_000_000
#: Minimum and maximum number of calls per model and batch size, and the time limit in seconds after the minimum.
_FEWEST, _MOST, _SECONDS = 3, 50, 0.4


@dataclass(frozen=True)
class Speed:
    """Speed of one model on one CPU thread: rows per second in batches, and the median time of one row."""

    rows_per_second: float
    latency_ms: float
    batch_rows: int


def scoring_speeds(config: AuditConfig, prepared: Prepared, models: Sequence[tuple[ModelSchema, Path]]) -> list[Speed]:
    """Encode and score raw rows of the log with the models in turn, so that a busy machine slows all of them equally.

    Args:
        config: with ``data`` as a path, glob or URI.
        prepared: contains the encoders.
        models: fields and weights of each model.

    Raises:
        AuditError: raw rows cannot be read or encoded.
    """
    encoders = Encoders.load(prepared.directory / "encoders.json")
    names = max((schema.names for schema, _ in models), key=len)
    rows = example_rows(config, prepared, names, min(_BATCH, max(_FEW, _CELLS // len(names))))
    with _one_thread():
        calls = [_scorer(config, encoders, schema, weights) for schema, weights in models]
        batch = _medians(calls, rows)
        single = _medians(calls, rows.head(1))
    return [Speed(len(rows) / many, 1000 * one, len(rows)) for many, one in zip(batch, single, strict=True)]


def _scorer(config: AuditConfig, encoders: Encoders, schema: ModelSchema, weights: Path) -> Callable[[Any], Any]:
    model, own = load_weights(config, schema, weights), encoders.keep(schema.names)
    return lambda rows: scores(model, own.encode(rows, schema), task=schema.task, outputs=schema.outputs)


def _medians(calls: Sequence[Callable[[Any], Any]], rows: Any) -> list[float]:
    """Median seconds of each call."""
    for call in calls:
        call(rows)  # the first call fills caches
    taken: list[list[float]] = [[] for _ in calls]
    started = time.perf_counter()
    for turn in range(_MOST):
        if turn >= _FEWEST and time.perf_counter() - started > _SECONDS:
            break
        for call, seconds in zip(calls, taken, strict=True):
            before = time.perf_counter()
            call(rows)
            seconds.append(time.perf_counter() - before)
    return [float(np.median(seconds)) for seconds in taken]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread, as a server does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
