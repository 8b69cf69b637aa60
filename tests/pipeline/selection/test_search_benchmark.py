"""The search benchmark on a small table: every method returns a result, and reads test rows only afterwards."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks" / "search"))
methods = pytest.importorskip("methods", reason="benchmarks/search is part of the checkout, not of the package")
case_module, compare = (pytest.importorskip(name) for name in ("case", "compare"))
sys.path.pop(0)

pytestmark = pytest.mark.slow  # of a benchmark, no part of the program


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of eight columns determine the label."""
    folder = tmp_path_factory.mktemp("table")
    random = np.random.default_rng(3)
    x = random.normal(size=(3_000, 8))
    chance = 1 / (1 + np.exp(-2.5 * x[:, 0] - 2.5 * x[:, 1]))
    frame = pl.DataFrame({f"x{place}": x[:, place] for place in range(8)})
    frame.with_columns(label=pl.Series((random.random(3_000) < chance).astype(int))).write_parquet(folder / "t.parquet")
    settings = {
        "data": str(folder / "t.parquet"), "target": "label", "margin": 0.02, "metric": "auc", "seeds": 2, "trials": 1,
        "training": {"max_epochs": 1},
    }  # fmt: skip
    (folder / "conf.yaml").write_text(json.dumps(settings), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def case(table: Path) -> Any:
    return case_module.open_case(str(table / "conf.yaml"), k=200, work_dir=table / "work", seeds=2)


def test_the_budget_is_cut_to_the_usable_features(case: Any):
    assert case.high == 8


def test_the_grid_is_logarithmic_and_ends_at_the_budget():
    assert methods.log_grid(1, 200, 2.0) == [3, 6, 12, 25, 50, 100, 200]
    assert methods.log_grid(10, 200, 4.0) == [12, 50, 200]
    assert methods.log_grid(5, 5, 2.0) == [5]


SEARCHES = {
    "ours": methods.ours,
    "grid": methods.grid,
    "random": lambda case: methods.random_search(case, budget=1.0),
    "rfecv": lambda case: methods.rfecv(case, rows=800, step=0.2),
    "rfe": lambda case: methods.rfe(case, 2, rows=800, step=0.2),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_every_method_finds_the_signal_before_it_reads_test(case: Any, name: str, monkeypatch: pytest.MonkeyPatch):
    """The store returns test rows only within ``test_value``, which runs only after the last training."""
    store_class, measure, trainer = type(case.store), type(case).test_value, case_module.train_one
    target, batches = store_class.target, store_class.batches
    events: list[str] = []
    reading = False

    def guarded(function: Any) -> Any:
        def call(self: Any, split: str, *args: Any, **named: Any) -> Any:
            assert split != "test" or reading, "the search read the test split"
            return function(self, split, *args, **named)

        return call

    def test_value(self: Any, *args: Any) -> float:
        nonlocal reading
        events.append("test")
        reading = True
        try:
            return measure(self, *args)
        finally:
            reading = False

    def train_one(*args: Any, **named: Any) -> Any:
        events.append("train")
        return trainer(*args, **named)

    monkeypatch.setattr(store_class, "target", guarded(target))
    monkeypatch.setattr(store_class, "batches", guarded(batches))
    monkeypatch.setattr(type(case), "test_value", test_value)
    for module in ("case", "feature_audit.fitting.trainings"):
        monkeypatch.setattr(sys.modules[module], "train_one", train_one)
    found = SEARCHES[name](case)
    assert events[-2:] == ["test", "test"]
    assert "test" not in events[:-2]
    assert events.count("train") == found.retrained + 2
    assert 1 <= found.k <= 8
    assert len(found.finals.test) == len(found.finals.validation) == 2
    assert np.mean(found.finals.test) > 0.8
    assert (found.work is None) == (name in ("rfecv", "rfe"))
    assert found.work is None or found.work > 0


def test_random_search_stops_at_the_trial_that_uses_up_the_budget(case: Any):
    one = methods.random_search(case, budget=1.0)
    more = methods.random_search(case, budget=one.work * 1.01)
    assert one.trials == 1
    assert more.trials == 2
    assert more.work > one.work * 1.01


def test_the_table_holds_a_row_per_method_and_a_second_run_computes_nothing(
    table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    asked = [
        "--data",
        str(table / "conf.yaml"),
        "--quick",
        "--methods",
        "ours",
        "rfecv",
        "--work-dir",
        str(table / "w"),
    ]
    compare.main(asked)
    first = capsys.readouterr().out
    rows = [row.split(" | ") for row in first.splitlines()[2:]]
    assert [row[1] for row in rows] == ["full model", "ours", "rfecv"]
    assert float(rows[1][5]) == pytest.approx(float(rows[0][5]) + float(rows[1][7]), abs=2e-4)
    assert rows[1][8] == "", "ours is not compared with itself"
    assert 0.5 < float(rows[2][8]) <= 1
    monkeypatch.setattr(compare, "ours_at", lambda *args, **named: pytest.fail("computed again"))
    monkeypatch.setattr(compare, "_find", lambda *args, **named: pytest.fail("computed again"))
    compare.main(asked)
    assert capsys.readouterr().out == first


@pytest.fixture
def split_table(table: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Register the small table as one that can be split again; returns the arguments that select it."""
    monkeypatch.setitem(compare.SPLITS, "small", "random")
    monkeypatch.setitem(case_module.CONFIGS, "small", str(table / "conf.yaml"))
    return ["--data", "small", "--splits", "1", "2", "--work-dir", str(table / "w")]


def test_methods_are_compared_over_splits(split_table: list[str], capsys: pytest.CaptureFixture[str]):
    compare.main([*split_table, "--quick", "--methods", "ours", "random", "rfecv"])
    first, second = capsys.readouterr().out.split("\n\n")
    rows = [row.split(" | ") for row in first.splitlines()[2:]]
    assert [row[1] for row in rows] == ["full model", "ours", "random", "rfecv"] * 2
    assert rows[0][5] != rows[4][5], "another split has other test rows"
    random_gap, rfecv_gap = (row.strip("| ").split(" | ") for row in second.strip().splitlines()[2:])
    assert random_gap[:3] == ["small", "random", "2"]
    gap = np.mean([float(rows[place][5]) - float(rows[place + 1][5]) for place in (1, 5)])
    assert float(random_gap[3].split(" ± ")[0]) == pytest.approx(gap, abs=2e-4)
    assert float(random_gap[8]) >= float(random_gap[7]), "random search uses up the budget of ours"
    assert rfecv_gap[8:] == ["-", "-"], "boosting has no cost in full trainings"


def test_gaps_between_methods_are_means_over_splits():
    def row(test: float, k: int, cost: float | None) -> dict[str, Any]:
        return {"finals": {"test": [test - 0.001, test + 0.001]}, "k": k, "full_trainings": cost}

    pairs = [(row(0.80, 10, 2.0), row(0.79, 20, 3.0)), (row(0.80, 40, 2.0), row(0.804, 20, 1.5))]
    shown = compare.gap_cells("t", "grid", pairs)
    assert shown == ["t", "grid", "2", "+0.0030 ± 0.0070", "1", "20", "20", "2.00", "2.25", "1"]
    assert compare.gap_cells("t", "rfecv", [(row(0.8, 9, 2.0), row(0.8, 9, None))])[3:] == [
        "+0.0000", "1", "9", "9", "2.00", "-", "-",
    ]  # fmt: skip
