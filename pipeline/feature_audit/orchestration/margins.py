"""Margins configured as a share of the full model's gain over no skill, converted to absolute margins."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.errors import AuditError
from feature_audit.fitting.trained import Trained, open_store
from feature_audit.noninferiority import metric
from feature_audit.noninferiority.chance import advantage
from feature_audit.orchestration import publish
from feature_audit.orchestration.settings import keep_resolved
from feature_audit.question import Margin, share_of
from feature_audit.schema import Task
from feature_audit.tracking import Run

log = logging.getLogger(__name__)

#: Significant digits of a computed margin.
_DIGITS = 3


def with_margins(parent: Run, config: AuditConfig, prepared: Prepared, full: Trained) -> AuditConfig:
    """The configuration with every margin in the metric's units; the run stores both shares and margins.

    Shares refer to the gain on validation rows: the test split must not affect the question put to it.

    Raises:
        AuditError: the full model has no gain to take a share of.
    """
    if not config.shares:
        return config
    store, scores = open_store(config, prepared), full.validation_scores()
    decision = str(config.metric)

    schema = store.schema

    def absolute(key: str, margin: Margin | None, name: str, place: int = 0) -> Margin | None:
        if not isinstance(margin, str):
            return margin
        if not schema.outputs:
            return _absolute(key, margin, name, store, schema.task, store.target("validation"), scores)
        labels, task = store.targets("validation")[:, place], schema.outputs[place].task
        return _absolute(key, margin, name, store, task, labels, scores[:, place])

    targets = {
        name: replace(rule, margin=absolute(f"targets.{name}", rule.margin, str(rule.metric), place))
        for place, (name, rule) in enumerate(config.further.items(), start=1)
    }

    guards = {
        name: replace(guard, margin=absolute(f"guards.{name}", guard.margin, name) or 0.0)
        for name, guard in config.guards.items()
    }
    resolved = config.model_copy(
        update={
            "margin": absolute("margin", config.margin, decision),
            "slice_margin": absolute("slice_margin", config.slice_margin, decision),
            "guards": guards,
            "targets": {**config.targets, **targets},
        }
    )
    publish.margin(parent, resolved)
    keep_resolved(parent, resolved)
    parent.tag({f"audit.{key}_share": share for key, share in config.shares.items()})
    return resolved


def _absolute(
    key: str, margin: str, name: str, store: Store, task: Task, labels: np.ndarray, scores: np.ndarray
) -> float:
    held = ~np.isnan(labels)
    cluster, weight = (
        None if one is None else one[held] for one in (store.group("validation"), store.weight("validation"))
    )
    gained = advantage(
        metric(name, task), y=labels[held], scores=scores[held], task=task, cluster=cluster, weight=weight
    )
    if not gained > 0:
        raise AuditError(
            f"{key}={margin}: the full model's validation {name} is no better than that of a constant "
            f"({gained:+.4g}), so there is no gain to take a share of; check target, time and split, or give {key} in "
            f"units of {name}"
        )
    found = float(f"{share_of(margin) * gained:.{_DIGITS}g}")
    log.info("baseline: %s = %g (%s of the gain over a no-skill model, %.4g)", key, found, margin, gained)
    return found
