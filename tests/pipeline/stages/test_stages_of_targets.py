"""The stages with two labels: what the selection keeps, and what every stage passes on about the second."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from feature_audit.config import AuditConfig
from feature_audit.data import Store
from feature_audit.fitting.cache import StageFolder, open_folder, stage_key
from feature_audit.fitting.trained import load_model
from feature_audit.models import predict
from feature_audit.orchestration.decisions import decide_features
from feature_audit.orchestration.stage_run import KEYS, load_key
from feature_audit.selection import FullModel
from feature_audit.selection.k.comparison import ValidationComparison
from feature_audit.selection.trial import SelectionObjective
from feature_audit.stages import baseline, load, parity, retrain, select
from sklearn.metrics import roc_auc_score
from two_labels import CLICK, CONVERT, two_labels


class Stages:
    """All stages of an audit of four features at most."""

    def __init__(self, home: Path, **keys: Any) -> None:
        home.mkdir()
        two_labels(4_000).write_parquet(home / "log.parquet")
        usual = {
            "data": str(home / "log.parquet"), "task": "binary", "metric": "auc", "margin": 0.05, "model": "mlp",
            "row_id": "row", "trials": 1, "work_dir": str(home), "training": {"max_epochs": 4}, "seeds": 2,
            "baseline_seeds": 2, "device": "cpu",
        }  # fmt: skip
        self.config = AuditConfig.model_validate({**usual, **keys})
        self.home = home
        self.prepared = load.load(self.config, self.folder("load"))
        self.store = Store.open(self.prepared.directory)
        self.full = baseline.baseline(self.config, self.prepared, self.folder("baseline"))
        self.constraints = select.constraints_of(self.config, self.prepared)
        self.selection = select.select(self.config, self.prepared, self.full, self.constraints, self.folder("select"))

    def folder(self, stage: str) -> StageFolder:
        return open_folder(self.home, stage_key(stage, config={}, inputs={}))

    @property
    def first(self) -> list[str]:
        """The four best features."""
        return sorted(self.prepared.schema.names[index] for index in self.selection.order[:4])


TWO: dict[str, Any] = {
    "targets": {"click": {"metric": "auc"}, "convert": {"metric": "auc", "margin": 0.05}}, "exclude": ["all"],
}  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    return Stages(tmp_path_factory.mktemp("two") / "both", k=4, k_min=4, **TWO)


@pytest.fixture(scope="module")
def click_only(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    return Stages(tmp_path_factory.mktemp("one") / "click", k=2, k_min=2, target="click", exclude=["all", "convert"])


def test_both_labels_keep_their_features(both: Stages) -> None:
    assert both.first == sorted([*CLICK, *CONVERT])


def test_with_one_label_the_features_of_the_other_are_dropped(click_only: Stages) -> None:
    kept = {click_only.prepared.schema.names[index] for index in click_only.selection.kept}
    assert kept == set(CLICK)


def test_a_feature_informative_about_the_second_label_is_not_called_noise(both: Stages) -> None:
    rows = {
        row.feature: row
        for row in decide_features(
            both.prepared, both.constraints, both.selection.at(2), both.folder("associations").path
        )
    }
    assert all("no signal" not in rows[name].reason for name in (*CLICK, *CONVERT))


def test_the_curve_knows_the_second_label(both: Stages) -> None:
    scores = both.full.validation_scores()
    worse = scores.copy()
    worse[:, 1] = np.random.default_rng(0).permutation(worse[:, 1])
    compare = ValidationComparison(
        "auc", both.store, scores, select.plan_of(both.config, both.store, both.constraints).further
    )
    same, lost = compare.point(4, scores, "retrained"), compare.point(4, worse, "retrained")
    label = both.store.targets("validation")[:, 1]
    held = ~np.isnan(label)
    aucs = [roc_auc_score(label[held], one[held, 1]) for one in (scores, worse)]
    assert (same.delta, *same.others["convert"]) == (0.0, 0.0, 0.0, 0.05)
    assert lost.delta == 0.0
    assert lost.others["convert"][0] == pytest.approx(aucs[1] - aucs[0], abs=1e-9)
    assert lost.metric == same.metric


def test_the_teacher_gives_nan_for_rows_without_a_label(both: Stages) -> None:
    model = load_model(both.config, both.full)
    train = predict(model, both.store, "train", both.store.schema, task="binary", device="cpu")
    full = FullModel(model, train, both.full.validation_scores(), 1)
    plan = select.plan_of(both.config, both.store, both.constraints)
    task = pickle.loads(pickle.dumps(SelectionObjective(full, both.store, both.constraints, plan))).task
    batch = next(iter(both.store.batches("train", 512, seed=1)))
    taught = task.teacher(batch, None)
    assert (taught.isnan() == batch.target.isnan()).all()
    assert taught.isnan().any()
    scores = train[batch.row.numpy()]
    np.testing.assert_allclose(taught.numpy(), np.where(batch.target.isnan(), np.nan, scores), rtol=1e-6)


@pytest.fixture(scope="module")
def judged(both: Stages) -> tuple[retrain.Retrained, parity.Outcome]:
    pruned = retrain.retrain(both.config, both.prepared, both.full, both.selection, both.folder("retrain"))
    return pruned, parity.parity(both.config, both.prepared, both.full, pruned, both.folder("parity"))


def test_the_verdict_is_about_both_and_is_kept(both: Stages, judged: tuple[retrain.Retrained, parity.Outcome]) -> None:
    pruned, outcome = judged
    click, convert = outcome.result.deltas[:2]
    assert (click.target, convert.target, convert.mode) == ("click", "convert", "not_worse")
    again = parity.parity(both.config, both.prepared, both.full, pruned, both.folder("parity"))
    assert again.result.deltas == outcome.result.deltas
    kept = pl.read_parquet(outcome.folder.path / parity.PREDICTIONS).filter(pl.col("y (convert)").is_not_nan())
    small = [roc_auc_score(kept["y (convert)"], kept[f"pruned_{seed} (convert)"]) for seed in (0, 1)]
    full = [roc_auc_score(kept["y (convert)"], kept[f"baseline{seed} (convert)"]) for seed in ("", "_1")]
    assert convert.delta == pytest.approx(np.mean(small) - np.mean(full), abs=1e-6)
    assert convert.rows == kept.height


def test_the_plan_is_about_the_target_that_is_hardest_to_decide(
    judged: tuple[retrain.Retrained, parity.Outcome],
) -> None:
    assert judged[0].plan.sentence.startswith("Of the targets, convert is the hardest to decide. ")


def test_another_margin_of_a_further_target_costs_no_other_store(both: Stages) -> None:
    """The selection and the verdict depend on it, the labels and the full model do not."""
    wider = both.config.model_copy(
        update={
            "targets": AuditConfig.model_validate(
                {"targets": {"click": None, "convert": {"metric": "auc", "margin": 0.2}}}
            ).targets
        }
    )
    assert load_key(wider).digest == load_key(both.config).digest
    assert [stage for stage, keys in KEYS.items() if "targets" in keys] == ["select", "parity"]
