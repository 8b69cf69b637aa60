"""The writer of the benchmarks' tables: what is shown, and what the raw file holds."""

from __future__ import annotations

import argparse
import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

_FILE = Path(__file__).parents[2] / "benchmarks" / "measured.py"
if not _FILE.is_file():
    pytest.skip("benchmarks/ is part of the checkout, not of the package", allow_module_level=True)


@pytest.fixture(scope="module")
def measured() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measured", _FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_is_shown_and_its_figures_are_added_to_the_file(
    measured: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results" / "power.csv"
    table = measured.Table(["situation", "passes"], path)
    table.add(["noise 0, no loss", "33.3%"], {"situation": "noise 0, no loss", "of": 3, "share": 1 / 3})
    measured.Table(["situation"], path).add(["noise 1"], {"situation": "noise 1"}, {"situation": "noise 2", "of": 9})
    assert capsys.readouterr().out.splitlines()[:3] == [
        "| situation | passes |", "|---|---|", "| noise 0, no loss | 33.3% |",
    ]  # fmt: skip
    assert lines(path) == [
        {"situation": "noise 0, no loss", "of": "3", "share": "0.333333"},
        {"situation": "noise 1", "of": "", "share": ""},
        {"situation": "noise 2", "of": "9", "share": ""},
    ]


def test_a_table_without_a_file_is_only_shown(
    measured: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser()
    measured.csv_option(parser)
    measured.Table(["a"], parser.parse_args([]).csv).add([1], {"a": 1})
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_benchmark_is_refused_and_stays_as_it_was(measured: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    measured.append(path, {"passes, all": 1, "of": 3})
    before = path.read_text(encoding="utf-8")
    with pytest.raises(SystemExit, match=r"other\.csv: it has no column seconds; name a new file"):
        measured.append(path, {"passes, all": 1, "seconds": 2.0})
    assert path.read_text(encoding="utf-8") == before
    measured.append(path, {"passes, all": 2})
    assert [one["passes, all"] for one in lines(path)] == ["1", "2"]


def test_a_share_has_its_exact_interval(measured: ModuleType) -> None:
    assert measured.with_interval(94, 2000) == "**4.7%** (3.8% to 5.7%)"
