"""Does a user's model fit the model contract? Asked on real rows, before a training is paid for."""

from __future__ import annotations

from dataclasses import replace

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.errors import AuditError
from feature_audit.models import MODELS, ModelFinding, check_model
from feature_audit.schema import ModelSchema
from feature_audit.stages.baseline import fresh_model

_ROWS = 256


def findings(config: AuditConfig, prepared: Prepared) -> list[ModelFinding]:
    """The contract's checks on the first train rows, for all features and for every other one.

    Raises:
        UsageError: the model cannot be built.
    """
    found = _findings(config, prepared, prepared.schema)
    fewer = prepared.schema.keep(prepared.schema.names[::2])
    if not all(finding.passed for finding in found) or len(fewer.fields) == len(prepared.schema.fields):
        return found
    failed = [finding for finding in _findings(config, prepared, fewer) if not finding.passed]
    what = f"the same with {len(fewer.fields)} of {len(prepared.schema.fields)} features, as a pruned model has"
    return [
        *found,
        replace(failed[0], check="fewer features") if failed else ModelFinding("fewer features", True, what),
    ]


def require(config: AuditConfig, prepared: Prepared) -> None:
    """Refuse a user's model that would fail, or mislead, after the full model was paid for.

    Raises:
        AuditError: it does not fit the contract.
    """
    if config.model in MODELS:
        return
    failed = [finding for finding in findings(config, prepared) if not finding.passed]
    if failed:
        raise AuditError(
            f"model={config.model}: does not fit the model contract; {failed[0].check}: {failed[0].detail} "
            "(feature-audit check-model with the same options shows every check)"
        )


def _findings(config: AuditConfig, prepared: Prepared, schema: ModelSchema) -> list[ModelFinding]:
    batch = next(iter(Store.open(prepared.directory).batches("train", _ROWS, schema=schema)))
    model = fresh_model(config, schema, config.seed)
    return check_model(model, schema, batch, lambda: fresh_model(config, schema, config.seed + 1))
