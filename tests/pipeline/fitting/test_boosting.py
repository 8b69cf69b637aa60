"""The boosting reference in an audit: it may fail, be left out or be interrupted, without costing a training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click_log import make_log
from command_line import artifact, feature_audit, newest_audit, tracking_in
from feature_audit.config import AuditConfig
from feature_audit.fitting import boosting
from feature_audit.stages import parity
from sklearn.metrics import roc_auc_score

COLUMNS = ("impression", "price_gap", "taste", "device", "noise_00", "noise_01", "clicked")
WORDS = (
    "--target", "clicked", "--row_id", "impression", "--model", "mlp", "--profile", "quick", "--threads", "1",
    "--training", "{max_epochs: 1}",
)  # fmt: skip
COMPARED = "; quick gradient boosting: auc 0."


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with tracking_in(tmp_path) as folder:
        make_log(1_200).select(COLUMNS).write_parquet(folder / "log.parquet")
        yield folder


def log_of(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """The standard error of a command."""
    command, *more = words
    assert feature_audit(command, "--data", "log.parquet", *WORDS, *more) == code
    return capsys.readouterr().err


def trainings(text: str) -> int:
    """Full models that a command trained."""
    return text.count("baseline, validation auc")


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate 7.45 GiB"), RuntimeError("std::bad_alloc")])
def test_a_failed_boosting_reference_is_a_warning_and_is_retried(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object, **__: object) -> np.ndarray:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(boosting, "boosting_scores", fails)
        first = log_of(capsys, "baseline")
    assert f"the boosting reference failed ({type(error).__name__}: {error})" in first
    assert f"not compared with gradient boosting: it failed with {type(error).__name__}: {error}" in first
    again = log_of(capsys, "baseline")
    assert (trainings(first), trainings(again)) == (1, 0)
    assert COMPARED in again


def test_a_kill_while_it_trains_costs_no_full_training(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> np.ndarray:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(boosting, "boosting_scores", killed)
        first = log_of(capsys, "baseline", code=130)
    again = log_of(capsys, "baseline", "--boosting_reference", "false")
    assert (trainings(first), trainings(again)) == (1, 0)
    assert "not compared with gradient boosting: boosting_reference=false" in again


def test_turning_it_off_and_on_again_trains_nothing_twice(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [log_of(capsys, "baseline", "--boosting_reference", word) for word in ("false", "true")]
    monkeypatch.setattr(boosting, "boosting_scores", None)  # from here on it is read
    texts.append(log_of(capsys, "baseline"))
    assert [trainings(text) for text in texts] == [1, 0, 0]
    assert [COMPARED in text for text in texts] == [False, True, True]


@pytest.mark.parametrize(("strength", "worse"), [(1.5, False), (0.9, True), (0.3, True)])
def test_pruned_models_are_compared_with_the_same_boosting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strength: float, worse: bool
) -> None:
    random = np.random.default_rng(0)
    label = np.repeat([0.0, 1.0], 3_000)
    noise = random.normal(size=(5, len(label)))
    schema = SimpleNamespace(task="binary")
    store: Any = SimpleNamespace(schema=schema, target=lambda _: label, group=lambda _: None, weight=lambda _: None)
    folder: Any = SimpleNamespace(path=tmp_path)
    config = AuditConfig(metric="auc", margin=0.01)
    monkeypatch.setattr(boosting, "boosting_scores", lambda *_, **__: 1.5 * label + noise[0])
    weak, equal = 0.5 * label + noise[1], 1.5 * label + noise[2]
    pruned = strength * label + noise[3:]
    for full in (weak, equal):
        (tmp_path / "boosting.json").unlink(missing_ok=True)
        reference = boosting.against_boosting(config, store, full, folder).reference
        assert reference is not None
        assert reference.clearly_worse(0.01, 0.95) is (full is weak)
        found = boosting.pruned_against_boosting(config, store, pruned, folder)
        assert (found.model, found.other) == ("pruned", reference.other)
        assert found.value == pytest.approx(np.mean([roc_auc_score(label, one) for one in pruned]))
        assert found.clearly_worse(0.01, 0.95) is worse


def test_it_is_no_part_of_the_question_to_the_test_rows() -> None:
    """Else an audit that repeats without it, or after its failure, would pay for another look."""
    asked = {"config.margin": "0.002", "config.slice_margin": "0.01"}
    with_it, without, other = (
        parity.question_digest({**asked, "input.boosting": "compared"}),
        parity.question_digest({**asked, "input.boosting": "none"}),
        parity.question_digest({**asked, "config.margin": "0.003", "input.boosting": "none"}),
    )
    assert with_it == without != other


@pytest.mark.slow
def test_the_report_says_that_it_was_left_out_and_that_costs_no_look(home: Path) -> None:
    reports, sentence = [], "The full model was not compared with gradient boosting, which would reveal a weak model: "
    for word in ("false", "true"):
        given = ("--data", "log.parquet", "--k", "3", "--margin", "0.1", "--boosting_reference", word)
        assert feature_audit("run", *WORDS, *given) == 0
        reports.append(json.loads(artifact(newest_audit(), "report/report.json").read_bytes()))
    assert [f"{sentence}boosting_reference=false." in report["warnings"] for report in reports] == [True, False]
    assert [report["look"] for report in reports] == [1, 1]
