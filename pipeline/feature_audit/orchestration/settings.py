"""The configuration of an audit: checks independent of the data, storage on the run, and completion from the data."""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from concrete_selectors import SELECTORS
from concrete_selectors.baselines import UNWEIGHTED

from feature_audit.config import DEFAULT_METRIC, AuditConfig, default_margin
from feature_audit.config.files import given_values, load_config, read_given
from feature_audit.data import Prepared, read_consumers
from feature_audit.engine import check_engine
from feature_audit.errors import UsageError
from feature_audit.fitting.checkpoint import check_checkpoint
from feature_audit.fitting.own_training import check_own_training, job_name
from feature_audit.importing import code_options, named_code
from feature_audit.masking import MASK, masked_values
from feature_audit.metric_names import parse_metric
from feature_audit.models import MODELS, check_arguments
from feature_audit.orchestration import publish
from feature_audit.question import IN_TARGET_UNITS, NO_ADVANTAGE, TargetRule, check_guards
from feature_audit.tracking import Run, find_run, registry

RESOLVED = "config/resolved.yaml"
#: The configuration before the data set task and metric: a continued audit starts from it, so that its cache keys
#: match those of the first run.
GIVEN = "config/given.yaml"


def config_of(audit: str, files: str | None, given: dict[str, Any], *, trust: bool = False) -> AuditConfig:
    """The configuration of an earlier audit, overridden by the values given now.

    Anyone with write access to a tracking store can change a run's configuration, so a function named in it is imported
    only if the user names it too.

    Args:
        audit: the earlier audit's parent run.
        files, given: as in ``load_config``.
        trust: import functions named in the run's configuration.

    Raises:
        AuditError: the run does not exist, or is not an audit's parent.
        UsageError: a given value is not valid, the configuration names code that was not given again, or the address of
            the data had credentials, which are not stored on the run.
    """
    config = load_config(files, given, base=yaml.safe_load(find_run(audit).read_text(GIVEN)))
    named = named_code(config.model_dump())
    unseen = {key: name for key, name in named.items() if key not in read_given(files, given)}
    if unseen and not trust:
        raise UsageError(
            f"audit={audit}: its configuration runs your code: {', '.join(f'{k}={n}' for k, n in unseen.items())}; if "
            f"you trust it, name it again:{code_options(unseen)} (or --trust)"
        )
    if MASK in config.data:
        raise UsageError(f"data={config.data}: run {audit} does not store credentials; give data again, including them")
    return config


def check_config(config: AuditConfig) -> None:
    """Refuse settings that are invalid for any data: unknown names, a missing device, keys that lack a required key.

    Raises:
        UsageError: one line.
    """
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"device={config.device}: torch {torch.__version__} sees no CUDA device; give cpu or auto")
    for key, value, known in (("model", config.model, MODELS), ("selector", config.selector, SELECTORS)):
        _require_known(key, value, known)
    _check_weights(config)
    check_engine(config)
    check_arguments(config.model, config.model_params)
    check_own_training(config)
    check_checkpoint(config)
    for key in ("row_id", "time", "group", "split", "production_score"):
        name = getattr(config, key)
        if name is not None and name in (config.target, *config.targets):
            raise UsageError(f"{key}={name}: this is the target itself; name another column, or leave out {key}")
    _check_targets(config)
    asked = [("metric", filter(None, [config.metric])), ("guards", config.guards)]
    asked += [(f"targets.{name}", filter(None, [rule.metric])) for name, rule in config.further.items()]
    for key, names in asked:
        for name in names:
            if parse_metric(name)[0] in ("gauc", "ndcg") and config.group is None:
                raise UsageError(f"{key}={name}: is computed within users; name the user column, e.g. group=user_id")
    if config.slice_margin is not None and not config.slices and config.group is None:
        raise UsageError(
            f"slice_margin={config.slice_margin}: there are no slices; give slices=<columns> or group=<column>"
        )
    registry.check_name(config.model_name)
    _check_folders(config)
    if config.consumers is not None:
        read_consumers(config.consumers)
    for split in ("time", "group"):
        if config.split == split and getattr(config, split) is None:
            raise UsageError(f"split={split}: needs a {split} column; give {split}=<column>, or split=random")


def _require_known(key: str, value: str, known: Collection[str]) -> None:
    """Refuse a model or selector that is neither shipped nor, of a model, written as a user's own."""
    if value in known or (key == "model" and ":" in value):
        return
    near = difflib.get_close_matches(value.lower(), known, n=1)
    if not near and key == "model" and re.fullmatch(r"(\w+\.)+\w+", value):
        near = [":".join(value.rsplit(".", 1))]  # written as in an import
    hint = f"did you mean {near[0]}? " if near else ""
    own = ", or package.module:factory" if key == "model" else ""
    raise UsageError(f"{key}={value}: unknown; {hint}choose {', '.join(known)}{own}")


def _check_targets(config: AuditConfig) -> None:
    """Refuse settings that would ignore all targets but the first."""
    if not config.further:
        return
    shown = f"targets={','.join(config.targets)}"
    if config.trainer or config.command:
        raise UsageError(
            f"{shown}: {job_name(config)} supports a single target; give only target={config.target}, or use a model "
            "instead of a job"
        )
    if config.selector in UNWEIGHTED:
        raise UsageError(
            f"{shown}: selector={config.selector} supports a single target; give another selector, such as ip_cae"
        )
    if config.task == "multiclass":
        raise UsageError(
            f"{shown}: task=multiclass is not supported with several targets; each must be binary or numeric"
        )


def _check_folders(config: AuditConfig) -> None:
    """Refuse folders that are not writable."""
    _require_writable(f"work_dir={config.work_dir}", Path(config.work_dir))
    if config.local_dir and "$" not in config.local_dir:  # its variables are expanded on each machine
        _require_writable(f"local_dir={config.local_dir}", Path(config.local_dir).expanduser())


def _require_writable(shown: str, folder: Path) -> None:
    """Refuse a folder that is not writable, without creating it, because the path may be a mistake."""
    try:
        path = folder.absolute()
        with tempfile.TemporaryFile(dir=next(one for one in (path, *path.parents) if one.exists())):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{shown}: cannot be written to ({reason}); give another folder") from None


def _check_weights(config: AuditConfig) -> None:
    """Refuse a selector that ignores row weights in an audit with weights."""
    if (config.weight or config.negative_sampling) and config.selector in UNWEIGHTED:
        raise UsageError(
            f"selector={config.selector}: does not support row weights; give another selector, such as ip_cae, or "
            f"leave out {'weight' if config.weight else 'negative_sampling'}"
        )


def with_metric(config: AuditConfig, prepared: Prepared) -> AuditConfig:
    """The configuration with task, metric and margin set, once the task is known from the data."""
    task = prepared.schema.task
    metric = config.metric or DEFAULT_METRIC[task]
    parse_metric(metric, task)
    check_guards(config.guards, metric, task)
    margin = default_margin(metric) if config.margin is None else config.margin
    if isinstance(margin, str) and metric == "calibration":
        raise UsageError(f"margin={margin}: {NO_ADVANTAGE}, such as margin=0.02")
    decided = {"task": task, "metric": metric, "margin": margin}
    config = config.model_copy(update=decided)
    return config.model_copy(update={"targets": _with_rules(config, prepared)})


def _with_rules(config: AuditConfig, prepared: Prepared) -> dict[str, TargetRule]:
    """The rules of several targets with metric and margin; a target with the decision metric has its margin."""
    rules = dict(config.targets)
    for one in prepared.schema.outputs[1:]:
        metric = rules[one.name].metric or DEFAULT_METRIC[one.task]
        parse_metric(metric, one.task, key=f"targets.{one.name}")
        margin = rules[one.name].margin
        if margin is None:
            shared = metric == config.metric and metric not in IN_TARGET_UNITS
            margin = config.margin if shared else default_margin(metric)
        rules[one.name] = replace(rules[one.name], metric=metric, margin=margin)
    return rules


def keep_given(parent: Run, config: AuditConfig) -> None:
    """Store the given configuration on the run, from which a continued audit starts."""
    parent.text(_as_yaml(masked_values(given_values(config))), GIVEN)


def keep_resolved(parent: Run, config: AuditConfig) -> None:
    """Store every key with its value on the run, as far as it is decided."""
    parent.text(_as_yaml(publish.shown(config)), RESOLVED)
    publish.params(parent, config)


def _as_yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
