"""All five stages of a small log with row weights: every figure that they pass on is the weighted one."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click_log import make_log
from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store
from feature_audit.fitting.cache import StageFolder, open_folder, stage_key
from feature_audit.fitting.trained import load_model
from feature_audit.models import boosting_scores
from feature_audit.noninferiority import metric, paired_delta
from feature_audit.noninferiority.clusters import cluster_codes
from feature_audit.noninferiority.components import row_variance
from feature_audit.noninferiority.metrics import Sample
from feature_audit.selection import FullModel, Selection
from feature_audit.selection.k.comparison import ValidationComparison
from feature_audit.selection.trial import SelectionObjective
from feature_audit.stages import baseline, load, parity, retrain, select
from sklearn.metrics import log_loss, roc_auc_score


@dataclass(frozen=True)
class Stages:
    config: AuditConfig
    prepared: Prepared
    full: baseline.Baseline
    selection: Selection
    pruned: retrain.Retrained
    outcome: parity.Outcome

    @property
    def store(self) -> Store:
        return Store.open(self.prepared.directory)


def run(home: Path, weight: pl.Expr | None) -> Stages:
    home.mkdir()
    log = make_log(900).select("user_id", "ts", "price_gap", "device", "noise_00", "clicked")
    log = log.with_columns(score=pl.Series(1 / (1 + np.exp(-log["price_gap"].to_numpy()))))
    log = log if weight is None else log.with_columns(w=weight)
    log.write_parquet(home / "log.parquet")
    config = AuditConfig.model_validate(
        {
            "data": str(home / "log.parquet"), "target": "clicked", "time": "ts", "group": "user_id", "k": 2,
            "k_min": 1, "task": "binary", "metric": "auc", "margin": 0.05, "model": "mlp", "selector": "random",
            "trials": 1, "work_dir": str(home), "training": {"max_epochs": 1}, "seeds": 2, "baseline_seeds": 2,
            "production_score": "score", "weight": None if weight is None else "w",
        }
    )  # fmt: skip

    def folder(stage: str) -> StageFolder:
        return open_folder(home, stage_key(stage, config={}, inputs={}))

    prepared = load.load(config, folder("load"))
    full = baseline.baseline(config, prepared, folder("baseline"))
    constraints = select.constraints_of(config, prepared)
    selection = select.select(config, prepared, full, constraints, folder("select"))
    pruned = retrain.retrain(config, prepared, full, selection, folder("retrain"))
    outcome = parity.parity(config, prepared, full, pruned, folder("parity"))
    return Stages(config, prepared, full, selection, pruned, outcome)


@pytest.fixture(scope="module")
def weighted(few_steps: None, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """Each device has a different weight, so that weights and labels are correlated."""
    weights = {"phone": 0.2, "tablet": 6.0, "desktop": 1.0, "tv": 3.0}
    expression = pl.col("device").replace_strict(weights, return_dtype=pl.Float64)
    return run(tmp_path_factory.mktemp("weighted") / "audit", expression)


def test_the_baseline_is_judged_by_weight(weighted: Stages) -> None:
    y, weight = weighted.store.target("validation"), weighted.store.weight("validation")
    scores = weighted.full.validation_scores()
    area = roc_auc_score(y, scores, sample_weight=weight)
    assert abs(area - roc_auc_score(y, scores)) > 1e-3
    references = weighted.full.references
    for value in (weighted.full.facts.metric, references.chance.value, references.boosting.reference.value):
        assert value == pytest.approx(area, rel=1e-12)
    boosted = boosting_scores(weighted.store, weighted.store.schema)
    area = roc_auc_score(y, boosted, sample_weight=weight)
    assert references.boosting.reference.other == pytest.approx(area, rel=1e-12)
    assert weighted.full.facts.validation_loss == pytest.approx(log_loss(y, scores, sample_weight=weight), rel=1e-5)


def test_k_is_chosen_by_weight(weighted: Stages) -> None:
    store, full = weighted.store, weighted.full.validation_scores()
    y, weight, user = store.target("validation"), store.weight("validation"), store.group("validation")
    other = np.random.default_rng(0).permutation(full)
    point = ValidationComparison("auc", store, full).point(2, other, "masked")
    assert point.metric == pytest.approx(roc_auc_score(y, other, sample_weight=weight), rel=1e-12)
    expected = paired_delta(metric("auc"), y=y, baseline=full, pruned=other, cluster=user, weight=weight)
    assert (point.delta, point.std_error) == pytest.approx(expected)
    constraints = select.constraints_of(weighted.config, weighted.prepared)
    criterion = select.plan_of(weighted.config, store, constraints).criterion
    ratio = np.sqrt(store.effective_rows("validation") / store.effective_rows("test"))
    assert criterion.test_ratio == pytest.approx(ratio) != np.sqrt(store.rows("validation") / store.rows("test"))


def test_the_selection_is_handed_the_weights_also_in_another_process(weighted: Stages) -> None:
    store, constraints = weighted.store, select.constraints_of(weighted.config, weighted.prepared)
    known = np.zeros(store.rows("train"), np.float32), weighted.full.validation_scores()
    model = FullModel(load_model(weighted.config, weighted.full), *known, 1)
    plan = select.plan_of(weighted.config, store, constraints)
    objective = pickle.loads(pickle.dumps(SelectionObjective(model, store, constraints, plan)))
    found = np.concatenate([objective.task.weight(batch).numpy() for batch, _ in objective.validation_batches()])
    np.testing.assert_allclose(found, store.weight("validation") / store.weight("train").mean(), rtol=1e-6)


def test_trainings_are_planned_with_weighted_noise(weighted: Stages) -> None:
    """The noise of the test rows is that of the validation rows, scaled by the effective sample sizes."""
    store, rung = weighted.store, weighted.pruned.at(weighted.selection.k)
    folder = weighted.pruned.folder.path
    small = [np.load(folder / f"pruned_{rung.k}_{number}.npy") for number in range(2)]
    full = [weighted.full.validation_scores(), np.load(folder / "full_0.npy")]
    y, weight = store.target("validation"), store.weight("validation")
    codes = cluster_codes(store.group("validation"), len(y))

    def influence(arm: list[np.ndarray]) -> np.ndarray:
        samples = [Sample(y, scores.astype(np.float64), *codes, weight) for scores in arm]
        return np.mean([metric("auc").statistics(sample).influence for sample in samples], axis=0)

    variance = row_variance(influence(small) - influence(full))[0]
    ratio = store.effective_rows("validation") / store.effective_rows("test")
    assert weighted.pruned.plan.row_noise == pytest.approx(np.sqrt(variance * ratio), rel=1e-6)


def test_the_verdict_and_production_are_judged_by_weight(weighted: Stages) -> None:
    store = weighted.store
    y, weight = store.target("test"), store.weight("test")
    table = pl.read_parquet(weighted.outcome.folder.path / parity.PREDICTIONS)
    assert table.columns[:4] == ["row_id", "group", "y", "weight"]
    np.testing.assert_array_equal(table["weight"].to_numpy(), weight)
    full = [roc_auc_score(y, table[name].to_numpy(), sample_weight=weight) for name in ("baseline", "baseline_1")]
    assert weighted.outcome.result.decision.baseline == pytest.approx(np.mean(full), rel=1e-9)
    production = weighted.outcome.result.diagnostics["references"][1]
    own = roc_auc_score(y, store.production_score("test"), sample_weight=weight)
    assert production["other"] == pytest.approx(own, rel=1e-12)


@pytest.mark.slow
def test_equal_weights_give_the_audit_without_weights(few_steps: None, tmp_path: Path) -> None:
    plain, equal = run(tmp_path / "plain", None), run(tmp_path / "equal", pl.lit(3))
    assert equal.selection.order.tolist() == plain.selection.order.tolist()
    assert equal.full.facts.validation_loss == pytest.approx(plain.full.facts.validation_loss, rel=1e-12)
    for one, other in zip(equal.outcome.result.deltas, plain.outcome.result.deltas, strict=True):
        assert (one.metric, one.slice, one.verdict) == (other.metric, other.slice, other.verdict)
        if one.metric != "ndcg":  # positions are counted in rows
            found, expected = ((row.baseline, row.delta, row.ci_low, row.ci_high) for row in (one, other))
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)
