"""The decision table: keep, drop or review for every column, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from feature_audit.data import Prepared, Store
from feature_audit.findings import Finding
from feature_audit.fitting.cache import read_marker, write_marker
from feature_audit.results import FeatureDecision
from feature_audit.schema import Column, Field
from feature_audit.selection import (
    Constraints,
    Selection,
    bin_numbers,
    label_information,
    number_categories,
    proxies,
    selection_frequency,
)

#: Number of rows on which associations are measured.
_ROWS = 20_000
#: Minimum share of a dropped feature's entropy that a kept feature must explain to carry it.
_REDUNDANT = 0.3
#: Smaller shares of the label's entropy are expected by chance with this many rows.
_INFORMATIVE = 5e-4
#: Minimum share of the selectors that would keep a dropped feature for it to be a close call.
_CLOSE_CALL = 0.5


def decide_features(
    prepared: Prepared, constraints: Constraints, selection: Selection, folder: Path
) -> list[FeatureDecision]:
    """One row per candidate column: usable features by rank, then the excluded ones.

    Associations are measured on train rows only.

    Args:
        prepared: the prepared log.
        constraints: rules that decide some features.
        selection: the ranking and K.
        folder: folder of the selection stage; caches the associations per K, which take minutes on a wide table.
    """
    columns = {column.name: column for column in prepared.columns}
    names = prepared.schema.names
    frequency = selection_frequency(selection.masks)
    kept = np.isin(np.arange(len(names)), selection.kept)
    place = folder / f"associations_{selection.k}.json"
    known = read_marker(place)
    if known is None:
        known = _associations(prepared, kept)
        write_marker(place, known, [])
    proxy, explained, informative = known["proxy"], known["explained"], known["informative"]
    rule = {index: _rule("never_drop", columns[names[index]], columns[names[index]].protected)
            for index in constraints.protected}  # fmt: skip
    rule |= {index: _rule("always_drop", columns[names[index]], columns[names[index]].ruled_out)
             for index in constraints.excluded}  # fmt: skip
    rows = []
    for index in selection.order:
        name = names[index]
        by = names[proxy[index]] if explained[index] >= _REDUNDANT else None
        close = not kept[index] and frequency[index] >= _CLOSE_CALL and index not in rule
        rows.append(
            FeatureDecision(
                feature=name,
                rank=int(selection.rank[index]),
                score=float(selection.scores[index]),
                selection_frequency=float(frequency[index]),
                decision="keep" if kept[index] else "review" if close else "drop",
                reason=_reason(
                    kept=bool(kept[index]),
                    frequency=float(frequency[index]),
                    rule=rule.get(int(index)),
                    close=close,
                    by=by,
                    explained=float(explained[index]),
                    informative=bool(informative[index]),
                ),
                carried_by=None if kept[index] else by,
                kind=columns[name].kind,
                group=columns[name].group,
                cost=columns[name].cost,
            )
        )
    return rows + _excluded(prepared, columns, len(rows))


def _rule(key: str, column: Column, named: bool) -> str:
    """The reason for a feature that is decided by a rule."""
    outcome = "protected" if key == "never_drop" else "dropped by rule"
    member = f"another feature of its group {column.group} is on the {key} list"
    return f"{outcome}: on the {key} list" if named else f"{outcome}: {member}"


def _reason(
    *,
    kept: bool,
    frequency: float,
    rule: str | None,
    close: bool,
    by: str | None,
    explained: float,
    informative: bool,
) -> str:
    if rule is not None:
        return rule
    if kept and frequency < _CLOSE_CALL:
        return (
            f"kept, a close call: in the top K of the combined ranking, although only {frequency:.0%} of the "
            "selectors would keep it"
        )
    if kept:
        return "kept: in the top K of the combined ranking"
    if close:
        return (
            f"close call: {frequency:.0%} of the selectors would keep it, but it is not in the top K of the combined "
            "ranking"
        )
    return _reason_to_go(by=by, explained=explained, informative=informative)


def _reason_to_go(*, by: str | None, explained: float, informative: bool) -> str:
    if by is not None:
        return f"redundant: {by} carries {explained:.0%} of its information"
    if informative:
        return "informative on its own, but not needed in addition to the kept features"
    return "no signal: shares no information with the label on its own"


def _associations(prepared: Prepared, kept: np.ndarray) -> dict[str, Any]:
    """Per feature: its best ``proxy`` among the kept ones, the share ``explained``, and if ``informative``."""
    store = Store.open(prepared.directory)
    chosen = np.arange(store.rows("train"))
    if len(chosen) > _ROWS:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, _ROWS, replace=False))
    codes = np.stack([_codes(store, field, chosen) for field in prepared.schema.fields], axis=1)
    n_fields = codes.shape[1]
    proxy, explained = np.zeros(n_fields, dtype=np.int64), np.zeros(n_fields)
    dropped = np.flatnonzero(~kept)
    if len(dropped) and kept.any():
        found = proxies(codes, dropped, np.flatnonzero(kept))
        proxy[dropped], explained[dropped] = found.column, found.explained
    labels = np.asarray(store.targets("train")[chosen], dtype=np.float32).reshape(len(chosen), -1)
    informative = np.zeros(n_fields, dtype=bool)
    for label in labels.T:  # informative for any of the targets
        held = ~np.isnan(label)
        informative |= label_information(codes[held], bin_numbers(label[held, None])[:, 0]) > _INFORMATIVE
    return {"proxy": proxy.tolist(), "explained": explained.tolist(), "informative": informative.tolist()}


def _codes(store: Store, field: Field, rows: np.ndarray) -> np.ndarray:
    """int64 (rows,) codes: numbers and vectors (first value) are binned, categories and lists unchanged."""
    cells = store.cells("train", field, rows)
    if field.form in ("numeric", "vector"):
        return bin_numbers(cells[:, :1].astype(np.float32))[:, 0]
    return number_categories(cells[:, 0] if field.form == "code" else cells)


def _excluded(prepared: Prepared, columns: dict[str, Column], n_ranked: int) -> list[FeatureDecision]:
    finding_of: dict[str, Finding] = {finding.column: finding for finding in prepared.findings if finding.excluded}
    rows = []
    for number, (name, reason) in enumerate(sorted(prepared.excluded.items())):
        finding = finding_of.get(name)
        column = columns[name]
        rows.append(
            FeatureDecision(
                feature=name,
                rank=n_ranked + number + 1,
                score=float("-inf"),
                selection_frequency=0.0,
                decision="drop",
                reason=(f"{finding.kind.replace('_', ' ')}: {finding.detail}" if finding else reason)
                + ("; also on the always_drop list" if column.ruled_out else ""),
                carried_by=finding.carried_by if finding else None,
                kind=column.kind,
                group=column.group,
                cost=column.cost,
            )
        )
    return rows
