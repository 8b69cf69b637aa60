"""The selector benchmarks: scores against hand-made cases, records that resume and never mix, tables without leaks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks" / "selectors"))
arena = pytest.importorskip("arena", reason="benchmarks/selectors is part of the checkout, not of the package")

import practice  # noqa: E402
import variants  # noqa: E402
from arena import encode, scoring, tables  # noqa: E402
from arena.case import Case  # noqa: E402
from arena.records import Results, pick, read  # noqa: E402
from arena.report import Board, ablation_report, arena_report, practice_report  # noqa: E402
from arena.runner import is_done, run_table  # noqa: E402
from arena.tuning import trials  # noqa: E402
from feature_audit.selection import nogueira_index  # noqa: E402

pytestmark = pytest.mark.slow  # of a benchmark, no part of the program

STAMP = {"code": "abc", "commit": "def", "budget": "small"}


def tiny(rows: int | None = None) -> tables.Table:
    """Two signals, the copy of one of them, three noise fields; 400 rows."""
    random = np.random.default_rng(0)
    z = random.normal(size=(400, 5))
    x = np.column_stack([z, z[:, 0] + 0.1 * random.normal(size=400)])
    y = (2 * z[:, 0] + 2 * z[:, 1] + 0.3 * random.normal(size=400) > 0).astype(int)
    splits = tables.random_splits(400, seed=0)
    truth = np.array([0, 1, -1, -1, -1, 0])
    return tables.make_table("tiny", encode.encode_matrix(x, splits[0], bins=8), y, splits, signal=truth)


@pytest.fixture(scope="module")
def case() -> Case:
    return Case("tiny", tables.Entry(tiny, (1, 2, 4), batch=64, epochs=20), rows=None, retrains=1)


class TestTables:
    def test_codes_do_not_depend_on_rows_outside_train(self) -> None:
        random = np.random.default_rng(0)
        values, train = random.normal(size=50), np.arange(30)
        other = np.concatenate([values[:30], 100 * random.normal(size=20)])
        first, n_first = encode.quantile_codes(values, train, bins=8)
        second, n_second = encode.quantile_codes(other, train, bins=8)
        assert n_first == n_second
        np.testing.assert_array_equal(first[:30], second[:30])

    @given(
        st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=4, max_size=40),
        st.integers(2, 20).map(lambda n: 2 * n),
    )
    def test_codes_are_monotone_in_range_and_missing_is_apart(self, cells: list[float | None], bins: int) -> None:
        values = np.array([np.nan if cell is None else cell for cell in cells])
        codes, size = encode.quantile_codes(values, np.arange(len(values)), bins=bins)
        assert codes.min() >= 0
        assert codes.max() < size
        known = ~np.isnan(values)
        order = np.argsort(values[known], kind="stable")
        assert (np.diff(codes[known][order]) >= 0).all()
        assert not set(codes[~known]) & set(codes[known])

    def test_rare_and_unseen_categories_share_a_code_and_null_has_its_own(self) -> None:
        series = pl.Series("c", ["a"] * 6 + ["b"] * 5 + ["c", None, "new"])
        codes, size = encode.category_codes(series, np.arange(12))
        assert size == 4
        np.testing.assert_array_equal(codes, [2] * 6 + [3] * 5 + [1, 0, 1])

    def test_vectors_lists_and_times_become_side_tables(self) -> None:
        frame = pl.DataFrame(
            {
                "v": pl.Series([[0.0, 2.0], [2.0, 2.0], [4.0, 5.0]], dtype=pl.Array(pl.Float32, 2)),
                "l": pl.Series([["x", "y"], None, ["y"]], dtype=pl.List(pl.String)),
                "t": pl.Series(["2024-01-01T05:00", "2024-01-02T05:00", None]).str.to_datetime(),
            }
        )
        columns = encode.encode_frame(frame, np.array([0, 1]))
        assert set(columns.sides) == {0, 1, 2}
        assert [columns.sides[n].shape[1] for n in range(3)] == [2, 2, 31]
        np.testing.assert_allclose(columns.sides[0][:2].mean(axis=0), 0, atol=1e-6)
        np.testing.assert_array_equal(columns.sides[1][columns.codes[1]], [[1, 1], [0, 0], [0, 1]])
        np.testing.assert_array_equal(columns.codes[2][:2], [5, 29])

    def test_constant_and_repeated_fields_are_dropped_with_their_truth(self) -> None:
        columns = encode.Columns()
        for name, codes in {"a": [0, 1, 0, 1], "same": [0, 1, 0, 1], "still": [1, 1, 1, 1], "b": [1, 0, 0, 1]}.items():
            columns.add(name, np.array(codes), 2)
        rows = np.arange(4)
        table = tables.make_table("t", columns, np.array([0, 1, 0, 1]), [rows] * 3, signal=np.array([7, 8, 9, -1]))
        np.testing.assert_array_equal(table.signal, [7, -1])

    def test_absent_files_are_a_reason_not_a_crash(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(tables, "DATA", tmp_path)
        with pytest.raises(tables.TableAbsent, match="santander"):
            tables.santander()

    def test_demo_columns_keep_their_truth(self) -> None:
        from arena import simulated

        table = simulated.demo(2000)
        assert table.signal.max() == 44
        assert len(table.sides) >= 8
        assert {-1, -2} <= set(table.signal.tolist())
        matrix = table.matrix()
        assert matrix.x.shape == (1200, len(matrix.feature))
        assert len(matrix.y) == 1200
        assert matrix.x_validation.shape == (len(matrix.y_validation), len(matrix.feature))
        assert 0 < matrix.categorical.sum() < len(matrix.feature)

    def test_rankers_get_categories_and_missing_cells_marked(self) -> None:
        frame = pl.DataFrame(
            {
                "n": [1.0, None, 3.0, 2.0],
                "c": ["a", "b", None, "a"],
                "v": pl.Series([[0.0, 2.0], [2.0, 2.0], [4.0, 5.0], [1.0, 1.0]], dtype=pl.Array(pl.Float32, 2)),
            }
        )
        rows = np.arange(4)
        columns = encode.encode_frame(frame, rows)
        table = tables.make_table("t", columns, np.array([0, 1, 0, 1]), [rows] * 3)
        matrix = table.matrix()
        np.testing.assert_array_equal(np.isnan(matrix.x[:, 0]), [False, True, False, False])
        np.testing.assert_array_equal(matrix.feature, [0, 1, 2, 2])
        np.testing.assert_array_equal(matrix.categorical, [False, True, False, False])

    def test_rare_signals_are_rare_and_worth_a_hundredth_of_auc(self) -> None:
        from arena import simulated
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import roc_auc_score

        table = simulated.rare()
        seldom = np.flatnonzero(table.signal >= 6)
        assert len(seldom) == 12
        active = (table.x_train[:, seldom] > 0).mean(axis=0)
        assert (abs(active - 0.003) < 0.0015).all()
        common = np.flatnonzero((table.signal >= 0) & (table.signal < 6))

        def auc(fields: np.ndarray) -> float:
            model = LogisticRegression().fit(table.x_train[:, fields], table.y_train)
            return float(roc_auc_score(table.y_test, model.decision_function(table.x_test[:, fields])))

        assert 0.006 < auc(np.concatenate([common, seldom])) - auc(common) < 0.02


class TestScoring:
    def test_area_is_one_for_the_full_net_and_zero_for_chance(self) -> None:
        assert scoring.area({5: 0.9, 10: 0.9, 40: 0.9}, bottom=0.5, top=0.9) == pytest.approx(1)
        assert scoring.area({5: 0.5, 40: 0.5}, bottom=0.5, top=0.9) == 0
        assert scoring.area({10: 0.7}, bottom=0.5, top=0.9) == pytest.approx(0.5)

    def test_area_weighs_ks_by_their_logarithm(self) -> None:
        value = scoring.area({1: 0.0, 10: 1.0, 100: 1.0}, bottom=0, top=1)
        assert value == pytest.approx((0.5 + 1) / 2)

    @given(st.lists(st.sets(st.integers(0, 9), min_size=3, max_size=3), min_size=2, max_size=5))
    def test_stability_is_the_pipelines(self, sets: list[set[int]]) -> None:
        masks = np.array([[f in kept for f in range(10)] for kept in sets])
        assert scoring.nogueira(sets, 10) == pytest.approx(nogueira_index(masks))

    def test_mean_ranks_share_ties_and_weigh_tables_equally(self) -> None:
        values = {("a", 1): {"x": 1.0, "y": 0.5}, ("a", 2): {"x": 1.0, "y": 1.0}, ("b", 1): {"x": 0.0, "y": 1.0}}
        assert scoring.mean_ranks(values) == {"x": pytest.approx(1.625), "y": pytest.approx(1.375)}

    def test_truth(self, case: Case) -> None:
        assert scoring.used_groups(case.table, case.model) == [0, 1]
        assert scoring.truth_found(case.table, np.array([1, 2, 5])) == {"groups": [0, 1], "noise": 1}


class TestRecords:
    def test_a_file_cut_off_by_a_kill_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "r.jsonl"
        results = Results(path, STAMP)
        results.add({"kind": "table", "table": "t"})
        with path.open("a") as file:
            file.write('{"kind": "sel')
        assert len(read(path)) == 1

    def test_versions_never_mix(self, tmp_path: Path) -> None:
        path = tmp_path / "r.jsonl"
        Results(path, STAMP).add({"kind": "table", "table": "t"})
        newer = Results(path, {**STAMP, "code": "new"})
        assert not newer.has(kind="table", table="t")
        newer.add({"kind": "table", "table": "t"})
        chosen, note = pick(read(path), code=None, budget="small")
        assert [record["code"] for record in chosen] == ["new"]
        assert "1 of other versions or budgets left out" in note
        with pytest.raises(ValueError, match="no records of code None and budget full"):
            pick(read(path), code=None, budget="full")

    def test_a_wrong_file_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "r.jsonl"
        path.write_text(json.dumps({"a": 1}) + "\n")
        with pytest.raises(ValueError, match="line 1"):
            read(path)


def run(case: Case, results: Results, **options: Any) -> list[tuple[str, int, str]]:
    """Run two methods on the case; returns the calls."""
    calls: list[tuple[str, int, str]] = []

    def method(name: str, best: int) -> Any:
        def choose(case: Case, seed: int, changes: dict[str, Any]) -> Any:
            calls.append((name, seed, str(changes)))
            order = np.roll(np.arange(6), -best - seed - changes.get("shift", 0))
            return lambda k: np.sort(order[:k])

        return choose

    run_table(case, {"good": method("good", 0), "bad": method("bad", 2)}, results, seeds=[0, 1], **options)
    return calls


class TestRunner:
    def test_finished_selections_are_not_run_again(self, case: Case, tmp_path: Path) -> None:
        path = tmp_path / "r.jsonl"
        assert len(run(case, Results(path, STAMP))) == 4
        assert run(case, Results(path, STAMP)) == []
        assert is_done("tiny", ["good", "bad"], Results(path, STAMP), seeds=[0, 1])
        assert not is_done("tiny", ["good", "bad"], Results(path, STAMP), seeds=[0, 1, 2])
        lines = path.read_text().splitlines()
        path.write_text("\n".join(lines[:-1]) + "\n")  # the last K of the last selection is lost
        assert run(case, Results(path, STAMP)) == [("bad", 1, "{}")]

    def test_trials_are_chosen_on_validation_with_the_first_seed(self, case: Case) -> None:
        results = Results(None, STAMP)
        options: list[dict[str, Any]] = [{"shift": 2}, {}]
        calls = run(case, results, trials=lambda name: options if name == "good" else [{}], deterministic=["bad"])
        assert calls == [("good", 0, "{'shift': 2}"), ("good", 0, "{}"), ("good", 1, "{}"), ("bad", 0, "{}")]
        (record,) = results.find(kind="trials")
        assert record["chosen"] == {}
        assert record["validation_loss"][1] < record["validation_loss"][0]

    def test_area_reaches_one_where_a_selection_beats_the_full_net(self, case: Case) -> None:
        results = Results(None, STAMP)
        results.add({"kind": "table", "table": "t", "floor": 0.5, "full": 0.6, "ks": [5, 10]})
        for method, metric in (("best", 0.9), ("other", 0.7)):
            for k in (5, 10):
                record = {"table": "t", "method": method, "seed": 0, "k": k, "metric": metric}
                results.add({"kind": "selection", **record})
        board = Board(results.find())
        assert board.areas("t", "best") == [pytest.approx(1.0)]
        assert board.areas("t", "other") == [pytest.approx(0.5)]

    def test_reports(self, case: Case) -> None:
        results = Results(None, STAMP)
        run(case, results, deterministic=["good"])
        text = arena_report(results.find(), "note")
        assert "| good | 1.00 |" in text
        assert "signal groups found of the 2" in text
        assert "| good | 0 | 0 |" in ablation_report(results.find(), "note", reference="good")

    def test_every_selector_has_as_many_trials_as_any_other_with_a_knob(self) -> None:
        assert {len(trials(name, 3)) for name in ("ip_cae", "cae", "l1_gates", "stg", "sequential_attention")} == {3}
        assert len(trials("gradient", 3)) == len(trials("cae", 1)) == 1


class TestPractice:
    def test_a_selection_is_judged_at_three_shares_and_not_run_again(self, tmp_path: Path) -> None:
        case = practice.open_case("tiny", tables.Entry(tiny, (), batch=64, epochs=5))
        assert case.ks == (1, 1, 2)
        path = tmp_path / "r.jsonl"
        practice.run(case, "f_test", [0, 1], Results(path, STAMP))
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [(r["seed"], r["share"], r["k"]) for r in lines] == [
            (seed, share, k) for seed in (0, 1) for share, k in (("N/10", 1), ("N/5", 1), ("N/3", 2))
        ]
        assert lines[2]["kept"] == lines[5]["kept"], "without randomness, once and for all"
        assert lines[2]["loss"] != lines[5]["loss"], "another net judges"
        practice.run(case, "f_test", [0, 1], Results(path, STAMP))
        assert len(path.read_text().splitlines()) == 6

    def test_tables_of_packages_are_split_by_time(self, tmp_path: Path) -> None:
        hours = np.random.default_rng(0).permutation(400)
        frame = pl.DataFrame({"arrival_date": hours, "lead": hours % 7, "label": 1.5 * hours})
        frame.write_parquet(tmp_path / "hotel_rates.parquet")
        table = practice.packaged("hotel_rates", tmp_path, tables.ordered_splits)
        assert table.classes == 2
        assert table.y_train.sum() == 40, "the half above the median begins at the 200th of 240 rows"
        assert table.y_test.all()
        with pytest.raises(tables.TableAbsent, match=r"flights_13.parquet; run benchmarks/search/small.py"):
            practice.packaged("flights_13", tmp_path, tables.ordered_splits)
        drawn = practice.packaged("hotel_rates", tmp_path, practice.VALIDATION["drawn"])
        np.testing.assert_array_equal(drawn.y_test, table.y_test)
        assert 0 < drawn.y_valid.mean() < 1, "from the whole time before the test rows"
        assert drawn.y_train.sum() + drawn.y_valid.sum() == table.y_train.sum() + table.y_valid.sum() == 100

    def test_the_report_has_differences_over_whole_tables(self) -> None:
        results = Results(None, STAMP)
        for table, full in (("a", 0.9), ("b", 0.8), ("half", 0.7)):
            results.add({"kind": "table", "table": table, "fields": 20, "full": full, "ks": [2, 4, 7]})
            for method, step in (("ip_cae", 0.0), ("random", 0.1 if table == "a" else 0.2)):
                if (table, method) == ("half", "random"):
                    continue
                for seed in (0, 1):
                    for share, k in zip(practice.SHARES, (2, 4, 7), strict=True):
                        record = {"table": table, "method": method, "seed": seed, "share": share, "k": k}
                        results.add({"kind": "selection", **record, "metric": full - step + 0.01 * seed})
        text = practice_report(results.find(), "note", reference="ip_cae")
        assert "Means over 2 tables: a, b." in text
        assert "| random | 0.7050 | +0.1500 ± 0.0500 | 2 |" in text
        assert "| half | 20 | 0.7000 | 7 | 0.7050 | - |" in text


class TestCommands:
    @pytest.mark.parametrize("command", [["benchmarks/selectors"], ["benchmarks/selectors/ablation.py"]])
    def test_a_run_and_its_report(self, command: list[str], tmp_path: Path) -> None:
        results = ["--results", str(tmp_path / "r.jsonl")]
        some = (
            ["--selectors", "f_test", "random"] if len(command[0]) < 25 else ["--variants", "one noise mask per batch"]
        )
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'pipeline'}{os.pathsep}{ROOT / 'selectors'}"}

        def call(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, *command, *results, *words],
                cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip

        early = call("--report")
        assert early.returncode == 2
        assert early.stderr.count("\n") == 1
        ran = call("--tables", "wine", "--seeds", "0", *some)
        assert ran.returncode == 0, ran.stderr
        report = call("--report").stdout
        assert "**wine**: 178 rows, 13 fields; accuracy (3 classes)" in report
        assert "budget small" in report
        again = call("--tables", "wine", "--seeds", "0", *some).stdout
        assert "wine: done already" in again


class TestVariants:
    @pytest.mark.parametrize("name", list(variants.VARIANTS))
    def test_each_variant_keeps_k_fields(self, case: Case, name: str) -> None:
        chosen = variants.VARIANTS[name](case, 0, {"epochs": 1.0, "finetune_epochs": 0.5})
        for k in case.ks:
            assert len(set(chosen(k).tolist())) == k

    def test_a_screen_leaves_nothing_but_its_first_fields(self, case: Case) -> None:
        screened = case.select("gradient", case.settings(seed=0))(3)
        chosen = variants.gradient_screen(case, 0, {"k_max": 3})
        np.testing.assert_array_equal(chosen(3), screened)

    @pytest.mark.parametrize("selector", ["ip_cae", "gradient", "f_test", "lightgbm_gain"])
    def test_selectors_find_both_signals(self, case: Case, selector: str) -> None:
        kept = case.select(selector, case.settings(seed=0))(4)
        assert scoring.truth_found(case.table, kept)["groups"] == [0, 1]


class TestPapersAndSpeed:
    def test_border_and_neighbours(self, tmp_path: Path) -> None:
        from arena import pixels

        assert pixels.borders(np.arange(784)) == 784 - 22 * 22
        assert pixels.borders(np.array([0, 14 * 28 + 14])) == 1
        assert pixels.neighbours(np.array([0, 1, 28, 27])) == 2
        pixels.draw(tmp_path / "p.svg", np.array([30, 31]), np.random.default_rng(0).random((5, 784)))
        assert (tmp_path / "p.svg").read_text().count("#d1495b") == 2

    def test_reconstruction_error_is_that_of_the_argmax(self) -> None:
        import papers
        import torch

        random = np.random.default_rng(0)
        x = torch.as_tensor(random.normal(size=(300, 60)), dtype=torch.float32)
        form = papers.Form("", "ip_cae", None, "batch", None)
        outcome = papers.reconstruct(form, x[:200], x[200:], epochs=2, seed=0)
        assert 0 < outcome.error < 2
        assert 1 <= outcome.distinct <= 50
        assert papers.reconstruct(form, x[:200], x[200:], epochs=2, seed=0).error == outcome.error

    def test_speed_prints_its_tables(self, capsys: pytest.CaptureFixture[str]) -> None:
        import speed

        times = speed.milliseconds([speed.stepper(100, 64), speed.stepper(100, 100)], rounds=1)
        assert len(times) == 2
        speed.train_wide("fit_path", 100, 5, 128)
        speed.train_wide("IPCAESelector", 100, 5, 128)
        printed = capsys.readouterr().out.split("\n")
        assert [line.split()[2] for line in printed if line] == ["5", "5"]
