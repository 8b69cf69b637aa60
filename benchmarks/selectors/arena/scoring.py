"""Scores of a selection: metric and loss of a net, recall of the truth, area of the K curve, stability, mean ranks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from arena.net import Net, logits, loss_of
from arena.tables import Table

#: The full net uses a group if shuffling it raises the loss by this number of standard errors.
_USED_ERRORS = 3.0


@dataclass(frozen=True)
class Score:
    """Test quality of a net: ``metric`` is ROC AUC for two classes and accuracy for more, ``loss`` cross entropy."""

    metric: float
    loss: float


def score(table: Table, model: Net, features: np.ndarray) -> Score:
    """Score of a net of the given fields on test rows."""
    out = logits(model, table.x_test[:, features])
    loss = float(loss_of(table)(out, torch.as_tensor(table.y_test)).mean())
    if table.classes == 2:
        return Score(float(roc_auc_score(table.y_test, out)), loss)
    return Score(float((out.argmax(1).numpy() == table.y_test).mean()), loss)


def floor(table: Table) -> float:
    """The metric without any feature: 0.5, or the share of train's largest class on test."""
    if table.classes == 2:
        return 0.5
    return float((table.y_test == np.bincount(table.y_train).argmax()).mean())


def used_groups(table: Table, model: Net) -> list[int]:
    """Signal groups used by the full net: shuffling their fields together raises the loss on validation and test."""
    if table.signal is None:
        return []
    x = np.concatenate([table.x_valid, table.x_test])
    y = torch.as_tensor(np.concatenate([table.y_valid, table.y_test]))
    loss = loss_of(table)
    before = loss(logits(model, x), y).double()
    order = np.random.default_rng(0).permutation(len(x))
    used = []
    for group in sorted(set(table.signal.tolist())):
        fields = np.flatnonzero(table.signal == group)
        if group < 0:
            continue
        shuffled = x.copy()
        shuffled[:, fields] = x[order][:, fields]
        rise = loss(logits(model, shuffled), y).double() - before
        if float(rise.mean()) > _USED_ERRORS * float(rise.std()) / len(rise) ** 0.5:
            used.append(int(group))
    return used


def truth_found(table: Table, kept: np.ndarray) -> dict[str, object]:
    """Signal groups and number of noise fields among the kept fields; empty if the truth is not known."""
    if table.signal is None:
        return {}
    signal = table.signal[kept]
    return {"groups": sorted({int(g) for g in signal if g >= 0}), "noise": int((signal == -1).sum())}


def area(values: Mapping[int, float], *, bottom: float, top: float) -> float:
    """Mean over log K of ``(metric - bottom) / (top - bottom)``: bottom is no feature, top the best net.

    Integrated by the trapezoidal rule; for a single K, its value.
    """
    ks = sorted(values)
    heights = np.array([(values[k] - bottom) / (top - bottom) for k in ks])
    if len(ks) == 1:
        return float(heights[0])
    return float(np.trapezoid(heights, np.log(ks)) / (np.log(ks[-1]) - np.log(ks[0])))


def nogueira(sets: Sequence[Iterable[int]], n_fields: int) -> float | None:
    """Stability of kept sets of equal size: 1 = always the same, 0 = chance; None if undefined.

    Nogueira, Sechidis, Brown (2018), JMLR 18, equation 4. For sets of one size K it is
    ``1 - mean_f s_f^2 / (K/N (1 - K/N))``, ``s_f^2`` the unbiased variance of field f being kept.
    """
    masks = np.zeros((len(sets), n_fields))
    for row, kept in zip(masks, sets, strict=True):
        row[list(kept)] = 1.0
    share = masks.mean()
    if len(sets) < 2 or share in (0.0, 1.0):
        return None
    return float(1 - masks.var(axis=0, ddof=1).mean() / (share * (1 - share)))


def mean_ranks(values: Mapping[tuple[str, Hashable], Mapping[str, float]]) -> dict[str, float]:
    """Mean rank of each selector, 1 = best: over the K of a table first, then over tables.

    Args:
        values: (table, K) -> selector -> metric, higher is better; ties share their mean rank.
    """
    by_table: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (table, _), cells in values.items():
        for selector, value in cells.items():
            better = sum(other > value + 1e-12 for other in cells.values())
            ties = sum(abs(other - value) <= 1e-12 for other in cells.values())
            by_table[table][selector].append(better + (ties + 1) / 2)
    per_selector: dict[str, list[float]] = defaultdict(list)
    for ranks in by_table.values():
        for selector, found in ranks.items():
            per_selector[selector].append(float(np.mean(found)))
    return {selector: float(np.mean(found)) for selector, found in per_selector.items()}
