"""Constraints of a selection: the range of K, protected and excluded features, and groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from feature_audit.errors import AuditError
from feature_audit.schema import Column


@dataclass(frozen=True)
class Constraints:
    """Features are numbered as in the schema, 0 to N - 1.

    Attributes:
        n_features: N.
        min_k, max_k: range of K, 1 <= min_k <= max_k.
        protected: features that are always kept, ascending.
        excluded: features of the full model that must not be kept, ascending.
        groups: (N,) group number of each feature; a group is kept or dropped as a whole. None = no groups.
        prior: (N,) added to the selector's logits: minus the feature's cost divided by the highest cost; None without
            costs.
        note: one sentence if the configured K has no effect, else None.
    """

    n_features: int
    min_k: int
    max_k: int
    protected: tuple[int, ...] = ()
    excluded: tuple[int, ...] = ()
    groups: tuple[int, ...] | None = None
    prior: tuple[float, ...] | None = None
    note: str | None = None

    @property
    def n_selectable(self) -> int:
        """Features that may be kept."""
        return self.n_features - len(self.excluded)

    @property
    def is_fixed(self) -> bool:
        """Whether there is only one K."""
        return self.min_k == self.max_k

    def prefix_sizes(self, order: Sequence[int] | np.ndarray) -> list[int]:
        """K that keep groups whole: numbers of features at which a ranking may be cut, ascending."""
        if self.groups is None:
            return list(range(1, len(order) + 1))
        groups = np.asarray(self.groups)[np.asarray(order)]
        return [*(np.flatnonzero(groups[1:] != groups[:-1]) + 1).tolist(), len(order)]


def build_constraints(
    names: Sequence[str],
    columns: Sequence[Column],
    *,
    k: int | Literal["auto"],
    k_min: int,
    most_candidates: int,
    whole_groups: Sequence[str],
    table_costs: Mapping[str, float],
) -> Constraints:
    """The constraints of an audit, checked before any training.

    Args:
        names: usable features in schema order.
        columns: all columns of the log, with protection, rules, groups and costs.
        k: maximum number of features to keep.
        k_min: minimum number of features to consider.
        most_candidates: the largest K if ``k`` is ``auto``.
        whole_groups: groups that are kept or dropped as a whole; ``*`` = every group.
        table_costs: cost of a source table, shared by its features.

    Raises:
        AuditError: k_min is above the number of usable features, k is below the number of protected ones, or
            always_drop excludes all features or contradicts never_drop within a whole group.
    """
    column_of = {column.name: column for column in columns}
    usable = [column_of[name] for name in names]
    _check_groups(columns, whole_groups)
    protected = _with_groups(usable, [column for column in columns if column.protected], whole_groups)
    excluded = _with_groups(usable, [column for column in columns if column.ruled_out], whole_groups)
    free = len(names) - len(excluded)
    if not free:
        raise AuditError(f"always_drop: excludes all {len(names)} usable features; remove some from it")
    tally = _tally(len(names), len(excluded), len(columns))
    if k_min > free:
        given = f"k=k_min={k}" if k == k_min else f"k_min={k_min}"
        both = "both" if k == k_min else "k_min"
        raise AuditError(f"{given}: only {tally}; give {both} between 1 and {free}")
    max_k = min(free, most_candidates if k == "auto" else k)
    if len(protected) > max_k:
        raise AuditError(
            f"k={k}: never_drop protects {len(protected)} usable features; raise k to at least {len(protected)}"
        )
    return Constraints(
        n_features=len(names),
        min_k=max(k_min, len(protected), 1),
        max_k=max(max_k, k_min),
        protected=tuple(protected),
        excluded=tuple(excluded),
        groups=_group_numbers(usable, whole_groups),
        prior=_cost_prior(usable, table_costs),
        note=None if k == "auto" or k <= free else f"k = {k} has no effect: only {tally}",
    )


def _is_whole(group: str | None, whole_groups: Sequence[str]) -> bool:
    return group is not None and ("*" in whole_groups or group in whole_groups)


def _check_groups(columns: Sequence[Column], whole_groups: Sequence[str]) -> None:
    """Refuse a whole group with both a protected and an excluded member."""
    stays = {c.group: c.name for c in columns if c.protected and _is_whole(c.group, whole_groups)}
    for column in columns:
        if column.ruled_out and column.group in stays:
            raise AuditError(
                f"always_drop={column.name}: never_drop keeps {stays[column.group]}, and whole_groups keeps their "
                f"group {column.group} together; change one of the three"
            )


def _with_groups(usable: Sequence[Column], named: Sequence[Column], whole_groups: Sequence[str]) -> list[int]:
    """Indices of the named features and of everything that shares a whole group with a named column."""
    names = {column.name for column in named}
    whole = {column.group for column in named if _is_whole(column.group, whole_groups)}
    return [index for index, column in enumerate(usable) if column.name in names or column.group in whole]


def _group_numbers(usable: Sequence[Column], whole_groups: Sequence[str]) -> tuple[int, ...] | None:
    if not whole_groups:
        return None
    number: dict[tuple[bool, str], int] = {}
    keys = [(True, c.group or "") if _is_whole(c.group, whole_groups) else (False, c.name) for c in usable]
    return tuple(number.setdefault(key, len(number)) for key in keys)


def _cost_prior(usable: Sequence[Column], table_costs: Mapping[str, float]) -> tuple[float, ...] | None:
    """Minus the cost divided by the highest cost, so that an expensive feature starts with a lower logit."""
    members = Counter(column.group for column in usable)
    shares = {group: table_costs.get(group or "", 0.0) / count for group, count in members.items()}
    costs = np.array([column.cost + shares[column.group] for column in usable])
    return tuple((-costs / costs.max()).tolist()) if (costs > 0).any() else None


def _tally(usable: int, ruled_out: int, columns: int) -> str:
    """The number of usable features, and why the others are not usable."""
    by_rule = f"; {ruled_out} dropped by always_drop" if ruled_out else ""
    return (
        f"{usable - ruled_out} features are usable ({columns - usable} of {columns} columns are constant, duplicate "
        f"or leaking{by_rule})"
    )
