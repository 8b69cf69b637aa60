"""A truncated file in the work folder: the same command writes it again and reaches the same verdict."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click_log import make_log
from command_line import artifact, feature_audit, newest_audit, tracking_in

WORDS = (
    "run", "--data", "log.parquet", "--target", "clicked", "--row_id", "impression", "--group", "user_id", "--model",
    "mlp", "--profile", "quick", "--threads", "1", "--k", "3", "--k_min", "3", "--margin", "0.1", "--seeds", "2",
    "--training", "{max_epochs: 1}", "--work_dir",
)  # fmt: skip
COLUMNS = ("impression", "user_id", "price_gap", "taste", "device", "noise_00", "clicked")
#: A file of each kind; `-m slow` tests the others.
SOME = {
    "finished": ("baseline/*/full.pt", "select/*/DONE.json"),
    "interrupted": ("retrain/*/pruned_3_0.json", "retrain/*/pruned_3_1.npy", "test_looks/*.jsonl"),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with an audit, ``finished``, and its state if it had been killed before three markers were written."""
    with tracking_in(tmp_path_factory.mktemp("damaged")) as folder:
        make_log(900, users=200).select(COLUMNS).write_parquet(folder / "log.parquet")
        assert feature_audit(*WORDS, "finished") == 0
        shutil.copytree(folder / "finished", folder / "interrupted")
        for stage in ("select", "retrain", "parity"):
            for marker in (folder / "interrupted" / stage).glob("*/DONE.json"):
                marker.unlink()
        yield folder


def answer() -> tuple[str, bytes, bytes]:
    """Verdict, kept features and predictions of the newest audit."""
    run = newest_audit()
    files = ("recommendation/kept_features.txt", "parity/predictions.parquet")
    kept, predictions = (artifact(run, name).read_bytes() for name in files)
    return run.data.tags["audit.verdict"], kept, predictions


def files(folder: Path) -> list[Path]:
    """All files below an audit's folder that it reads again."""
    inside = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".lock"]
    found = [path.relative_to(folder) for path in inside]
    assert len(found) > 30
    return found


def again(state: str, file: Path, share: float, wanted: tuple[str, bytes, bytes]) -> None:
    """Truncate the file and run the same command twice: everything is complete again."""
    shutil.rmtree("work", ignore_errors=True)
    shutil.copytree(state, "work")
    cut = Path("work") / file
    os.truncate(cut, int(cut.stat().st_size * share))
    assert feature_audit(*WORDS, "work") == 0, (file, share)
    assert answer() == wanted, (file, share)
    assert newest_audit().data.tags["audit.look"] == "1", "no look was counted twice"


@pytest.mark.parametrize("share", [pytest.param(0, marks=pytest.mark.slow), 0.5])
@pytest.mark.parametrize(("state", "pattern"), [(state, one) for state, some in SOME.items() for one in some])
def test_a_file_that_was_cut_short(home: Path, state: str, pattern: str, share: float) -> None:
    wanted = answer()
    [file] = (home / state).glob(pattern)
    again(state, file.relative_to(home / state), share, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0, 0.5])
@pytest.mark.parametrize("state", ["finished", "interrupted"])
def test_every_file(home: Path, state: str, share: float) -> None:
    wanted = answer()
    for file in files(home / state):
        if state == "interrupted" and file.parts[0] in ("load", "baseline"):
            continue  # as in the finished audit
        again(state, file, share, wanted)


def test_damage_is_reported_and_only_the_damaged_stage_reruns(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree("work", ignore_errors=True)
    shutil.copytree("finished", "work")
    [weights] = Path("work").glob("retrain/*/pruned_3_1.pt")
    os.truncate(weights, 10)
    assert feature_audit(*WORDS, "work") == 0
    output = capsys.readouterr().err.splitlines()
    assert "retrain: running again: its saved result is damaged" in output
    assert [line.split(",")[0] for line in output if line.startswith("retrain: pruned")] == ["retrain: pruned_3_1"]
    assert sum("reused from the cache" in line for line in output) == 4, "load, baseline, select and parity"
