"""The audit's search and its rivals; each uses train and validation rows only and ends with one test evaluation."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from case import Case, Finals, finals
from concrete_selectors import PathSettings, fit_path
from feature_audit.fitting.trained import Trained, load_model
from feature_audit.results import CurvePoint
from feature_audit.stages.retrain import retrain
from feature_audit.stages.select import select

#: Seeds of the rivals' confirmations: neither the audit's confirmations nor the final retrainings use them.
CONFIRMATION_SEED = 70_000


@dataclass(frozen=True)
class Found:
    """Selection of a method and the cost of its search, without the final retrainings.

    Attributes:
        k: number of kept features.
        evidence: step of the rule that decided K, or the other criterion.
        confirmed: validation value of the retraining that confirmed K; None if the method has none.
        finals: the final retrainings.
        trials: concrete trainings, or cross-validated sizes for RFECV.
        retrained: retrainings during the search.
        work: in the pipeline's units; None for a method whose model has none.
        seconds: CPU seconds.
        extra: further text to print.
    """

    k: int
    evidence: str
    confirmed: float | None
    finals: Finals
    trials: int
    retrained: int
    work: float | None
    seconds: float
    extra: dict[str, Any] = field(default_factory=dict)


def ours(case: Case) -> Found:
    """The pipeline's select and retrain stages."""
    started = time.process_time()
    folder = case.select_folder
    seconds = math.nan if folder.done else 0.0  # the CPU seconds of a cached search are not known
    selection = select(case.config, case.prepared, case.full, case.constraints, folder)
    seconds += time.process_time() - started
    retrained_folder = case.folder("retrain", {"select": folder.key.digest})
    proposed = replace(selection, rungs=(selection.k,))
    pruned = retrain(case.config, case.prepared, case.full, proposed, retrained_folder).at(selection.k)
    models = [Trained(retrained_folder, pruned.schema, pruned.facts[0], name) for name in pruned.names]
    test = tuple(case.test_value(load_model(case.config, trained), pruned.schema) for trained in models)
    confirmed = [point for point in selection.curve if point.source == "retrained"]
    return Found(
        k=selection.k,
        evidence=selection.evidence,
        confirmed=next((point.metric for point in confirmed if point.k == selection.k), None),
        finals=Finals(tuple(facts.metric for facts in pruned.facts), test),
        trials=len(selection.trials),
        retrained=len(confirmed),
        work=selection.compute,
        seconds=seconds,
        extra={"importances": selection.importances, "trials": [row.shown() for row in selection.trials],
               "points": [(point.k, point.delta) for point in confirmed], "order": selection.order.tolist()},
    )  # fmt: skip


def ours_at(case: Case, order: list[int], k: int) -> Finals:
    """The first ``k`` features of our ranking, for a comparison at the K of a rival."""
    return finals(case, case.names(order[:k]))


def log_grid(low: int, high: int, factor: float) -> list[int]:
    """K from ``high`` down by ``factor``, at least ``low`` and 2, in ascending order."""
    steps = int(math.log(high / max(low, 2)) / math.log(factor) + 1e-9) if high > max(low, 2) else 0
    return sorted({max(low, round(high / factor**step)) for step in range(steps + 1)})


def grid(case: Case, factor: float = 2.0) -> Found:
    """For each K of a log grid one concrete training with K slots and one retraining; the rule picks K."""
    started = time.process_time()
    schedule = case.plan.space.point(0, case.plan.seed)
    tried = [_try(case, k, schedule, number) for number, k in enumerate(log_grid(case.low, case.high, factor))]
    return _conclude(case, tried, started)


def random_search(case: Case, budget: float) -> Found:
    """Random settings and log-uniform K, each trained and retrained, until the work of ``budget`` is spent."""
    started = time.process_time()
    random = np.random.default_rng(case.config.seed)
    space = case.plan.space
    tried: list[_Tried] = []
    while not tried or sum(one.work for one in tried) < budget:
        settings = {
            "temperature_start": _log_uniform(random, space.temperature_start),
            "temperature_end": _log_uniform(random, space.temperature_end),
            "anneal_share": float(random.uniform(*space.anneal_share)),
        }
        k = round(_log_uniform(random, (max(case.low, 2), case.high)))
        tried.append(_try(case, k, settings, len(tried)))
    return _conclude(case, tried, started)


def rfecv(case: Case, *, rows: int, step: float, folds: int = 3) -> Found:
    """scikit-learn's RFECV with LightGBM on the encoded matrix of train rows; the best size within the budget.

    RFECV passes arrays, in which codes are numbers.
    """
    from sklearn.feature_selection import RFE, RFECV
    from sklearn.model_selection import StratifiedKFold

    started = time.process_time()
    x, y = _matrix(case, rows, case.config.seed)
    booster, cv = _booster(case.config.seed), StratifiedKFold(folds, shuffle=True, random_state=case.config.seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        search = RFECV(booster, step=step, cv=cv, scoring="roc_auc", min_features_to_select=case.low, n_jobs=1)
        search.fit(x, y)
        sizes, means = (np.asarray(search.cv_results_[key]) for key in ("n_features", "mean_test_score"))
        k, support = int(sizes[np.where(sizes <= case.high, means, -np.inf).argmax()]), search.support_
        if k != search.n_features_:
            support = RFE(booster, n_features_to_select=k, step=step).fit(x, y).support_
    seconds = time.process_time() - started
    found = finals(case, case.names(np.flatnonzero(support)))
    curve = [(int(size), float(mean)) for size, mean in zip(sizes, means, strict=True)]
    return Found(k, "best CV score", None, found, len(sizes), 0, None, seconds, {"points": curve, "rows": len(y)})


def rfe(case: Case, k: int, *, rows: int, step: float) -> Found:
    """LightGBM's elimination with the K that ours chose, to compare the features at equal K.

    Categories are split as categories; each step drops the features with the least gain of their splits.
    """
    started = time.process_time()
    x, y = _matrix(case, rows, case.config.seed)
    categorical = np.array([field.form == "code" for field in case.schema.fields])
    left, steps = np.arange(x.shape[1]), 0
    while len(left) > k:  # a share of the remaining features, not of all, else small K would be reached in one step
        booster = _booster(case.config.seed, importance_type="gain")
        booster.fit(x[:, left], y, categorical_feature=np.flatnonzero(categorical[left]).tolist())
        size = max(k, min(len(left) - 1, round(len(left) * (1 - step))))
        left, steps = np.sort(left[np.argsort(-booster.feature_importances_, kind="stable")[:size]]), steps + 1
    seconds = time.process_time() - started
    return Found(k, "K of ours", None, finals(case, case.names(left)), steps, 0, None, seconds)


def _matrix(case: Case, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = case.store.matrix("train", case.schema), case.store.target("train")
    if len(y) > rows:
        chosen = np.sort(np.random.default_rng(seed).choice(len(y), rows, replace=False))
        x, y = x[chosen], y[chosen]
    return x, y


def _booster(seed: int, **more: Any) -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_estimators=100, learning_rate=0.06, num_leaves=15, min_child_samples=50, n_jobs=1,
                          random_state=seed, verbose=-1, **more)  # fmt: skip


@dataclass(frozen=True)
class _Tried:
    point: CurvePoint
    names: tuple[str, ...]
    work: float


def dedicated(case: Case, k: int, schedule: dict[str, float], seed: int) -> tuple[tuple[str, ...], float]:
    """The features of one concrete training with exactly K slots, and its work."""
    settings = PathSettings(
        k_max=k,
        k_min=k,
        epochs=case.plan.epochs,
        network_learning_rate=case.plan.learning_rate,
        temperature_start=schedule["temperature_start"],
        temperature_end=schedule["temperature_end"],
        anneal_share=schedule["anneal_share"],
        seed=seed,
    )
    path = fit_path(case.objective.task, settings)
    return case.names(path.ranking[:k]), case.objective.compute(path)


def _try(case: Case, k: int, settings: dict[str, float], number: int) -> _Tried:
    """One dedicated training, then one retraining on the chosen features."""
    names, learning = dedicated(case, k, settings, case.config.seed + number)
    point, retraining = case.confirm(names, CONFIRMATION_SEED + case.config.seed + number)
    return _Tried(point, names, learning + retraining)


def _conclude(case: Case, tried: list[_Tried], started: float) -> Found:
    best: dict[int, _Tried] = {}  # the better of two trials at the same K
    for one in tried:
        if one.point.k not in best or one.point.delta > best[one.point.k].point.delta:
            best[one.point.k] = one
    choice = case.choose([one.point for one in best.values()])
    seconds = time.process_time() - started
    chosen = best[choice.k]
    return Found(
        choice.k, choice.evidence, chosen.point.metric, finals(case, chosen.names), len(tried), len(tried),
        sum(one.work for one in tried), seconds,
        {"points": [(one.point.k, one.point.delta) for one in tried]},
    )  # fmt: skip


def _log_uniform(random: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(random.uniform(np.log(bounds[0]), np.log(bounds[1]))))
