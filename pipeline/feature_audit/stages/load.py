"""load: read, profile, judge and split the log; encode it into a training store."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from pathlib import Path

from feature_audit.config import AuditConfig
from feature_audit.data import STORE_KEYS, Prepared, data_digest, prepare
from feature_audit.data.overview import overview
from feature_audit.datasets.demo import DEFAULTS as DEMO_DEFAULTS
from feature_audit.datasets.demo import ensure_demo
from feature_audit.errors import AuditError, UsageError
from feature_audit.fitting.cache import StageFolder

log = logging.getLogger(__name__)

#: Configuration keys that the store depends on; a change in any other key keeps it.
KEYS = ("data", *STORE_KEYS)


def complete(config: AuditConfig) -> AuditConfig:
    """Fill in what the demo log says about itself, and refuse an audit without a target.

    Raises:
        UsageError: no target is given for data of the user's own.
    """
    if config.data == "demo":
        given = config.model_fields_set
        config = config.model_copy(update={key: value for key, value in DEMO_DEFAULTS.items() if key not in given})
    if not config.target:
        raise UsageError(f"target: not given for data={config.data}; name the label column, e.g. target=clicked")
    return config


def locate(config: AuditConfig) -> AuditConfig:
    """The configuration with ``data`` as a path, glob or URI; the demo log is made where it is not there yet."""
    if config.data != "demo":
        return config
    path = ensure_demo(Path(config.work_dir).resolve() / "demo").path
    return config.model_copy(update={"data": str(path)})


def digest(config: AuditConfig) -> str:
    """Digest of the input's bytes and of the configuration that shapes the store."""
    located = locate(config)
    return data_digest(located, located.data)


def rules_digest(prepared: Prepared) -> str:
    """What the configuration says about each column, and what tables cost, as one digest."""
    rules = [(c.name, c.group, c.protected, c.ruled_out, c.cost) for c in prepared.columns]
    return hashlib.blake2b(repr((rules, sorted(prepared.table_costs.items()))).encode(), digest_size=16).hexdigest()


def load(config: AuditConfig, folder: StageFolder) -> Prepared:
    """Make the training store, or open the one made before.

    Raises:
        AuditError: anything wrong with the data, in one line.
    """
    if folder.done:
        return Prepared.load(folder.path)
    prepared = prepare(locate(config), folder.path, lambda message: log.info("load: %s", message))
    for finding in prepared.findings:
        if finding.excluded and finding.kind != "constant":
            log.info("load: %s is excluded: %s", finding.column, finding.detail)
        elif finding.kind == "other" and not finding.column:  # what reading had to decide for the user
            log.info("load: %s", finding.detail)
    by_name = {column.name: column.kind for column in prepared.columns}
    kinds = Counter(by_name[name] for name in prepared.schema.names)
    for line in overview(prepared.summary, prepared.split_info["kind"], kinds):
        log.info("load: %s", line)
    folder.finish({"digest": prepared.digest, "rows": prepared.rows, "features": len(prepared.schema.fields)})
    return prepared


def budget(config: AuditConfig, prepared: Prepared) -> tuple[int, int]:
    """The range of K that the audit may choose from, checked before any training is paid for.

    Returns:
        (k_min, k_max); k_max is the budget, or where that is above it (or ``auto``) what there is: all features that
        may be kept, for ``auto`` at most ``selection.max_candidates``.

    Raises:
        AuditError: k_min is above the number of features that may be kept, k is below the number of protected ones;
            always_drop leaves nothing to keep, or contradicts never_drop within a whole group.
    """
    usable = _usable(config, prepared)
    if not usable:
        ruled_out = len(prepared.schema.fields)
        raise AuditError(f"always_drop: rules out all {ruled_out} usable features; take some out of it")
    if config.k_min > usable:
        both = config.k == config.k_min
        given = f"k=k_min={config.k}" if both else f"k_min={config.k_min}"
        raise AuditError(
            f"{given}: only {_tally(config, prepared)}; give {'both' if both else 'k_min'} between 1 and {usable}"
        )
    k_max = min(usable, config.selection.max_candidates if config.k == "auto" else config.k)
    protected = protected_fields(config, prepared)
    if len(protected) > k_max:
        raise AuditError(
            f"k={config.k}: never_drop protects {len(protected)} usable features; raise k to at least {len(protected)}"
        )
    return max(config.k_min, len(protected), 1), max(k_max, config.k_min)


def clipped_budget(config: AuditConfig, prepared: Prepared) -> str | None:
    """One sentence where the budget ``k`` is above the features that may be kept, else None.

    A budget is the most that may be kept, so one above what there is does not limit the audit and is no mistake.
    """
    if config.k == "auto" or config.k <= _usable(config, prepared):
        return None
    return f"k = {config.k} is no limit: only {_tally(config, prepared)}"


def _usable(config: AuditConfig, prepared: Prepared) -> int:
    """Features that may be kept."""
    return len(prepared.schema.fields) - len(ruled_out_fields(config, prepared))


def _tally(config: AuditConfig, prepared: Prepared) -> str:
    """How many features may be kept, and where the others went."""
    usable, ruled_out = _usable(config, prepared), len(ruled_out_fields(config, prepared))
    excluded = len(prepared.columns) - usable - ruled_out
    by_rule = f", {ruled_out} are dropped by rule" if ruled_out else ""
    return (
        f"{usable} features are usable ({excluded} of {len(prepared.columns)} were excluded as constant, duplicate or "
        f"leaking{by_rule})"
    )


def unit_ids(config: AuditConfig, prepared: Prepared) -> list[int] | None:
    """A number per usable feature, equal for features that are kept or dropped together; None without whole groups."""
    if not config.whole_groups:
        return None
    group_of = {column.name: column.group for column in prepared.columns}
    number: dict[str, int] = {}
    ids = []
    for name in prepared.schema.names:
        group = group_of[name]
        unit = f"group {group}" if is_whole(config, group) else f"feature {name}"
        ids.append(number.setdefault(unit, len(number)))
    return ids


def protected_fields(config: AuditConfig, prepared: Prepared) -> list[int]:
    """Indices of the usable features that are always kept, in schema order: ``never_drop`` and their whole groups."""
    return _with_whole_groups(config, prepared, {column.name for column in prepared.columns if column.protected})


def ruled_out_fields(config: AuditConfig, prepared: Prepared) -> list[int]:
    """Indices of the usable features that are never kept, in schema order: ``always_drop`` and their whole groups.

    Raises:
        AuditError: a whole group has a member that must stay and one that must go.
    """
    stays: dict[str, str] = {}
    for column in prepared.columns:
        if column.protected and column.group is not None and is_whole(config, column.group):
            stays[column.group] = column.name
    for column in prepared.columns:
        if column.ruled_out and column.group in stays:
            raise AuditError(
                f"always_drop={column.name}: never_drop keeps {stays[column.group]}, and whole_groups holds their "
                f"group {column.group} together; change one of the three"
            )
    return _with_whole_groups(config, prepared, {column.name for column in prepared.columns if column.ruled_out})


def is_whole(config: AuditConfig, group: str | None) -> bool:
    """True for groups that are kept or dropped as a whole."""
    return group is not None and ("*" in config.whole_groups or group in config.whole_groups)


def _with_whole_groups(config: AuditConfig, prepared: Prepared, named: set[str]) -> list[int]:
    """Indices of the named features and of everything that shares a whole group with a named column."""
    group_of = {column.name: column.group for column in prepared.columns}
    tables = {group_of[name] for name in named if is_whole(config, group_of[name])}
    return [index for index, name in enumerate(prepared.schema.names) if name in named or group_of[name] in tables]
