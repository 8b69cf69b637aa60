"""A full disk: one line, no incomplete file is taken for a complete one, and the same command continues later."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from click_log import make_log
from command_line import artifact, feature_audit, newest_audit, newest_run, tracking_in
from feature_audit.disk import DiskFullError, require_room, room_in

ROOT = Path(__file__).parents[2]
WORDS = (
    "run", "--data", "log.parquet", "--target", "clicked", "--row_id", "impression", "--model", "mlp", "--profile",
    "quick", "--threads", "1", "--k", "3", "--k_min", "3", "--margin", "0.1", "--seeds", "2",
    "--training", "{max_epochs: 1}", "--work_dir",
)  # fmt: skip
COLUMNS = ("impression", "price_gap", "taste", "device", "noise_00", "clicked")
#: Every way in which an audit writes, with a limit of 64 kB per file.
WRITERS = """
import json, os, resource, sys
from pathlib import Path
import numpy as np, polars as pl, torch
from feature_audit.disk import DiskFullError, room_in, write_at
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
many, place = np.random.default_rng(0).random(100_000), Path(sys.argv[1])
def store(file):
    handle = os.open(file, os.O_RDWR | os.O_CREAT)
    write_at(handle, many.data.cast("B"), 0)
def lines(file):
    with open(file, "w") as handle:
        json.dump(many.tolist(), handle)
writers = {
    "weights.pt": lambda file: torch.save({"weight": torch.zeros(100_000)}, file),
    "scores.npy": lambda file: np.save(file, many),
    "scores.npz": lambda file: np.savez(file, a=many),
    "table.parquet": lambda file: pl.DataFrame({"a": many}).write_parquet(file),
    "staged.parquet": lambda file: pl.LazyFrame({"a": many}).sink_parquet(file),
    "table.csv": lambda file: pl.DataFrame({"a": many}).write_csv(file),
    "store.bin": store,
    "DONE.json": lines,
}
for name, write in writers.items():
    try:
        with room_in(place, name):
            write(place / name)
        print(name, "written")
    except DiskFullError as error:
        print(name, "full", len(str(error).splitlines()), "free: " in str(error))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a log."""
    with tracking_in(tmp_path_factory.mktemp("full_disk")) as folder:
        make_log(900).select(COLUMNS).write_parquet(folder / "log.parquet")
        yield folder


def answer() -> tuple[str, bytes]:
    run = newest_audit()
    return run.data.tags["audit.verdict"], artifact(run, "parity/predictions.parquet").read_bytes()


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("feature-audit: error:")]


def test_every_writer_reports_a_full_disk(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "pipeline")}
    command = [sys.executable, "-c", WRITERS, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    rows = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert len(rows) == 8
    assert {name: result for name, result in rows if result != "full 1 True"} == {}


def test_other_exceptions_pass(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), room_in(tmp_path, "x"):
        raise PermissionError(13, "Permission denied")


def test_what_needs_more_than_is_free_is_not_begun(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = namedtuple("usage", "total used free")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage(10_000, 0, 9_000))
        assert feature_audit("load", *WORDS[1:], "refused") == 1
    [line] = errors(capsys)
    assert "the training store of 900 rows needs 11.7 kB in" in line
    assert "where 9.0 kB are free; free some space, or put work_dir on another disk" in line
    assert newest_run().data.tags["audit.verdict"] == "error"
    assert not list(Path("refused").rglob("*.bin"))
    with pytest.raises(DiskFullError, match=r"weights needs \d+\.\d [TGM]B"):
        require_room(home, 10**15, "weights")
    assert feature_audit("load", *WORDS[1:], "refused") == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that is a separate file system in memory."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def resize(disk: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(disk)], check=True)


@pytest.mark.slow
def test_the_work_folder_on_a_small_disk_that_grows(
    home: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its size starts at 16 kB and grows by 40 kB after each failure, so that every kind of file fails once."""
    assert feature_audit(*WORDS, "whole") == 0
    wanted, size, lines = answer(), 16, []
    capsys.readouterr()
    resize(small_disk, size)
    while feature_audit(*WORDS, str(small_disk / "work")) != 0:
        [line] = errors(capsys)
        lines.append(line)
        size += 40
        assert size < 500, lines[-1]
        resize(small_disk, size)
    assert answer() == wanted
    assert len(lines) >= 5
    assert [line for line in lines if "free some space" not in line] == []


@pytest.mark.slow
def test_the_tracking_store_on_a_small_disk_that_grows(
    home: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same for MLflow's database and artifacts: finished trainings are published as soon as there is space."""
    resize(small_disk, 1_500)
    lines, size = [], 1_500
    with tracking_in(small_disk):
        shutil.copy(home / "log.parquet", small_disk)
        while feature_audit(*WORDS, str(home / "elsewhere")) != 0:
            lines += errors(capsys)
            size *= 2  # an interrupted registration leaves the files that it had copied
            assert size < 50_000
            resize(small_disk, size)
        assert newest_audit().data.tags["audit.verdict"] in ("pass", "fail", "inconclusive")
    assert lines
    assert [line for line in lines if "disk" not in line] == []


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"),
        RuntimeError("basic_ios::clear: iostream error"),
        OSError("40960 requested and 8192 written"),
    ],
    ids=["torch's writer", "torch's stream", "NumPy"],
)
def test_what_libraries_say_of_a_full_disk_is_one_line(tmp_path: Path, error: Exception) -> None:
    expected = r"weights: the disk is full .*free some space"
    with pytest.raises(DiskFullError, match=expected), room_in(tmp_path, "weights"):
        raise error


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), room_in(tmp_path, "weights"):
        raise RuntimeError("shapes do not match")
