"""Checks a user's model against the model contract, on real rows, before any training."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.errors import AuditError
from feature_audit.fitting.trained import fresh_model
from feature_audit.importing import what_failed
from feature_audit.memory import memory_for
from feature_audit.models import MODELS, GatedField, ModelFinding, check_model, embedding_widths
from feature_audit.schema import ModelSchema

_ROWS = 256


def findings(config: AuditConfig, prepared: Prepared) -> list[ModelFinding]:
    """The contract's checks on the first train rows, for all features and for each half of those that may be dropped.

    A model must also run with the fewest features that an audit may keep, the first ones and the last ones: columns of
    one source often lie side by side, and a tower for them may lose all.

    Raises:
        AuditError: the model cannot be built, or it fails with all features.
    """
    found, names = _with_all(config, prepared), prepared.schema.names
    stays = {column.name for column in prepared.columns if column.protected}
    free = [name for name in names if name not in stays]
    for dropped in (set(free[1::2]), set(free[::2])):  # so that each one is missing once: a model may know it by name
        fewer = tuple(name for name in names if name not in dropped)
        if all(finding.passed for finding in found) and 0 < len(fewer) < len(names):
            found.append(_with_fewer(config, prepared, fewer))
    fewest = max(config.k_min - len(stays), 1)
    if all(finding.passed for finding in found) and fewest < len(free):
        found.append(_with_fewest(config, prepared, (stays.union(free[:fewest]), stays.union(free[-fewest:]))))
    return found


def gated(config: AuditConfig, prepared: Prepared) -> list[GatedField]:
    """The fields that an audit of this model gates, in schema order; for a model that passed the checks."""
    widths = embedding_widths(fresh_model(config, prepared.schema, config.seed), prepared.schema)
    kinds = {column.name: column.kind for column in prepared.columns}
    return [GatedField(name, width, kinds[name]) for name, width in zip(prepared.schema.names, widths, strict=True)]


def require(config: AuditConfig, prepared: Prepared) -> None:
    """Refuse a user's model that would fail or give wrong results after the full model's training.

    Raises:
        AuditError: the model does not follow the contract.
    """
    if config.model in MODELS:
        return
    failed = [finding for finding in findings(config, prepared) if not finding.passed]
    if failed:
        raise AuditError(
            f"model={config.model}: does not fit the model contract; {failed[0].check}: {failed[0].detail} "
            "(feature-audit check-model with the same options shows every check)"
        )


def _with_all(config: AuditConfig, prepared: Prepared) -> list[ModelFinding]:
    try:
        with memory_for("check of the model"):
            return _findings(config, prepared, prepared.schema)
    except AuditError:
        raise
    except (Exception, SystemExit) as error:
        if config.model in MODELS:
            raise
        raise AuditError(
            f"model={config.model}: {what_failed(error)}; build(schema), embed(batch) and predict(embedded) must run "
            "for the fields of the schema: read their names, forms and sizes from it, and expect float32 and int64 "
            "cells [feature-audit -v shows the traceback]"
        ) from error


def _with_fewer(config: AuditConfig, prepared: Prepared, names: tuple[str, ...]) -> ModelFinding:
    check, those = "fewer features", f"with {len(names)} of {len(prepared.schema.names)} features, as a pruned model"
    try:
        failed = [one for one in _findings(config, prepared, prepared.schema.keep(names)) if not one.passed]
    except (Exception, SystemExit) as error:  # raised by the user's code, which worked with all features
        return ModelFinding(check, False, f"{those}: {what_failed(error)}; read names and sizes from the schema")
    if failed:
        return ModelFinding(check, False, f"{those}: {failed[0].check}: {failed[0].detail}")
    return ModelFinding(check, True, f"all checks also hold {those}")


def _with_fewest(config: AuditConfig, prepared: Prepared, kept: Sequence[set[str]]) -> ModelFinding:
    """Only that it runs: a model of interactions may well give a constant for a single feature."""
    check, those = (
        "fewer features",
        f"with {len(kept[0])} of {len(prepared.schema.names)} features, as the smallest pruned model",
    )
    for names in kept:
        schema = prepared.schema.keep(tuple(name for name in prepared.schema.names if name in names))
        batch = next(iter(Store.open(prepared.directory).batches("train", _ROWS, schema=schema)))
        try:
            model = fresh_model(config, schema, config.seed).eval()
            with torch.no_grad():
                model(batch)
        except (Exception, SystemExit) as error:  # raised by the user's code, which worked with half of the features
            remedy = "a part that has lost all its features must still give an output; or protect some by never_drop"
            return ModelFinding(
                check, False, f"{those} ({', '.join(schema.names[:3])}): {what_failed(error)}; {remedy}"
            )
    return ModelFinding(check, True, f"it also runs {those}")


def _findings(config: AuditConfig, prepared: Prepared, schema: ModelSchema) -> list[ModelFinding]:
    batch = next(iter(Store.open(prepared.directory).batches("train", _ROWS, schema=schema)))
    model = fresh_model(config, schema, config.seed)
    return check_model(model, schema, batch, lambda: fresh_model(config, schema, config.seed + 1))
