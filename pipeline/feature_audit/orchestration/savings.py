"""Savings of the pruned model, measured once the verdict is known: bytes, parameters, speed, and the cost of a cut."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import TypeVar

from feature_audit.config import AuditConfig
from feature_audit.data import Encoders, Prepared, read_consumers, readers_of
from feature_audit.errors import AuditError
from feature_audit.fitting.fading import fading_curve
from feature_audit.fitting.scoring_speed import Speed, scoring_speeds
from feature_audit.fitting.trained import load_model, open_store, weight_bytes
from feature_audit.importing import users_code
from feature_audit.models import MODELS, embedding_sizes
from feature_audit.report import READ_BY_OTHERS, removal_waves
from feature_audit.results import (
    AuditReport,
    FadePoint,
    FeatureDecision,
    Footprint,
    Readers,
    Savings,
    WaveSavings,
)
from feature_audit.stages.baseline import Baseline
from feature_audit.stages.load import locate
from feature_audit.stages.retrain import Retrained

log = logging.getLogger(__name__)

Found = TypeVar("Found")


def sized(
    config: AuditConfig, prepared: Prepared, full: Baseline, decisions: list[FeatureDecision]
) -> list[FeatureDecision]:
    """The decisions, with the size of each feature in the log and in the full model."""
    columns = {column.name: column for column in prepared.columns}
    shares: dict[str, float] = {}
    if config.model in MODELS and full.weights.is_file():
        sizes = embedding_sizes(prepared.schema, config.training.embedding_dim)
        shares = {name: size / sum(sizes) for name, size in zip(prepared.schema.names, sizes, strict=True)}
    return [
        replace(
            row,
            bytes_per_row=columns[row.feature].bytes_per_row,
            plain_bytes_per_row=columns[row.feature].plain_bytes_per_row,
            embedding_share=shares.get(row.feature),
        )
        for row in decisions
    ]


def readers(config: AuditConfig, prepared: Prepared) -> Readers | None:
    """Other consumers of the features of the log; None without a consumers file."""
    if config.consumers is None:
        return None
    return readers_of(read_consumers(config.consumers), prepared.columns, own=config.model_name)


def with_savings(
    config: AuditConfig, prepared: Prepared, full: Baseline, pruned: Retrained, report: AuditReport
) -> AuditReport:
    """The report with its savings. Values that cannot be measured are left out, as they do not affect the verdict.

    For a model trained by an external job there are no weights, so only the bytes of the log are known.
    """
    rung, waves = pruned.at(report.k), _waves(report)
    weights = full.weights, pruned.folder.path / f"{rung.names[rung.best_seed]}.pt"
    schemas = full.schema, rung.schema
    ours = all(path.is_file() for path in weights)
    speeds: list[Speed] = []
    fading: tuple[list[FadePoint], int] = [], 0
    if ours:
        models = list(zip(schemas, weights, strict=True))
        speeds = _measured("scoring speed", lambda: scoring_speeds(locate(config), prepared, models), speeds)
        fading = _measured(
            "the effect of a cut without retraining", lambda: _fading(config, prepared, full, waves), fading
        )
    prints = []
    for place, schema in enumerate(schemas):
        names = set(schema.names)
        rows = [row for row in report.decisions if row.feature in names]
        prints.append(
            Footprint(
                len(schema.fields),
                total(row.bytes_per_row for row in rows),
                total(row.plain_bytes_per_row for row in rows),
                weight_bytes(weights[place]) if ours else None,
                **asdict(speeds[place]) if speeds else {},
            )
        )
    savings = Savings(prints[0], prints[1], prepared.summary.get("bytes_from"), waves, *fading)
    return replace(report, savings=savings)


def total(values: Iterable[float | None]) -> float | None:
    """The sum of the known values; None if there is none."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _measured(what: str, work: Callable[[], Found], nothing: Found) -> Found:
    """The result of ``work``, or ``nothing`` if the log was moved since it was read or the user's model fails."""
    try:
        with users_code():
            return work()
    except AuditError as error:
        log.info("parity: %s is not measured: %s", what, error)
        return nothing


def _waves(report: AuditReport) -> list[WaveSavings]:
    """The removal waves as the report shows them, with the savings of each."""
    row_of = {row.feature: row for row in report.decisions}
    found = []
    for wave in removal_waves(report):
        rows = [row_of[name] for name in wave.names]
        size, share = total(row.bytes_per_row for row in rows), total(row.embedding_share for row in rows)
        if wave.title == READ_BY_OTHERS and size is not None:
            size = 0.0  # the model becomes smaller, but the log does not
        found.append(WaveSavings(wave.title, list(wave.names), wave.saved, size, share))
    return found


def _fading(
    config: AuditConfig, prepared: Prepared, full: Baseline, waves: list[WaveSavings]
) -> tuple[list[FadePoint], int]:
    if not waves:
        return [], 0
    lost = Encoders.load(prepared.directory / "encoders.json").missing(full.schema)
    # Features that others read are still computed, so they do not go missing.
    names = [[] if wave.title == READ_BY_OTHERS else wave.features for wave in waves]
    return fading_curve(config, open_store(config, prepared), full.schema, load_model(config, full), names, lost)
