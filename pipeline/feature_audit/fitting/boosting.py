"""Compares the full model with fast gradient boosting on validation, because parity with a weak model proves little.

The reference is optional: if it fails, the audit continues with a note. Its result is stored with the training that it
was compared with, so that a killed or repeated command computes neither again.
"""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Store
from feature_audit.errors import shortened
from feature_audit.fitting.cache import StageFolder, read_marker, write_marker
from feature_audit.models import boosting_scores
from feature_audit.noninferiority import metric
from feature_audit.noninferiority.references import Reference, against_reference

log = logging.getLogger(__name__)

#: Advice if gradient boosting is clearly better.
BOOSTING_REMEDY = "check kinds (ids read as numbers?), try another model or more training.max_epochs"
_KEPT, _SCORES = "boosting.json", "boosting.npy"


@dataclass(frozen=True)
class Boosting:
    """Result of the comparison with gradient boosting.

    Attributes:
        reference: the comparison, or None.
        missing: why there is no comparison; empty if there is one.
        seconds: its running time when it was computed.
    """

    reference: Reference | None
    missing: str
    seconds: float


def against_boosting(config: AuditConfig, store: Store, full: np.ndarray, folder: StageFolder) -> Boosting:
    """Train gradient boosting on the same encoded rows and compare, or load an earlier result.

    Validation rows are used, although early stopping on them favours the full model.

    Args:
        config: ``boosting_reference=false`` turns it off.
        store: the encoded rows.
        full: (validation rows[, classes]) scores of the full model.
        folder: folder of the full model's training. A failure is not stored there: the next command tries again.
    """
    if not config.boosting_reference:
        return Boosting(None, "boosting_reference=false", 0.0)
    known = read_marker(folder.path / _KEPT)
    if known is None:
        started = time.perf_counter()
        try:
            scores = boosting_scores(store, store.schema, seed=config.seed)
            reference = _compared(config, store, "full", full[None], scores)
            np.save(folder.path / _SCORES, scores)
        except Exception as error:  # the reference is optional
            reason = f"{type(error).__name__}: {shortened(str(error))}"
            log.warning("baseline: the boosting reference failed (%s); the audit continues without it", reason)
            return Boosting(None, f"it failed with {reason}", time.perf_counter() - started)
        known = {"reference": asdict(reference), "seconds": time.perf_counter() - started}
        write_marker(folder.path / _KEPT, known, [folder.path / _SCORES])
    return Boosting(Reference(**known["reference"]), "", known["seconds"])


def pruned_against_boosting(config: AuditConfig, store: Store, pruned: np.ndarray, folder: StageFolder) -> Reference:
    """Pruned models against the same gradient boosting of all features, for a full model that is clearly worse than it.

    In wide tables a full model loses quality to its own features. Pruned models that match the gradient boosting have
    not lost what a better full model would have found, so the weak full model is no reason against them.

    Args:
        config: names the metric.
        store: the encoded rows.
        pruned: (trainings, validation rows[, classes]) scores of the pruned models.
        folder: folder of the full model's training, as given to ``against_boosting``.
    """
    return _compared(config, store, "pruned", pruned, np.load(folder.path / _SCORES))


def _compared(
    config: AuditConfig, store: Store, model: Literal["full", "pruned"], scores: np.ndarray, boosting: np.ndarray
) -> Reference:
    """(trainings, rows[, classes]) scores of a model compared with those of gradient boosting on validation."""
    return against_reference(
        metric(str(config.metric), store.schema.task),
        model=model,
        y=store.target("validation"),
        scores=scores,
        other=boosting,
        cluster=store.group("validation"),
        name="a quick gradient boosting",
        remedy=f"{BOOSTING_REMEDY[0].upper()}{BOOSTING_REMEDY[1:]}.",
        split="validation",
        weight=store.weight("validation"),
    )
