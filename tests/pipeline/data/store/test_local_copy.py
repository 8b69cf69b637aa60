"""Copies of a training store on a local disk: complete or absent, made once, never outdated."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from data_helpers import every_kind, prepared_of
from feature_audit.data import Store, local_copy, pick_rows, write_sample
from feature_audit.disk import DiskFullError
from feature_audit.errors import AuditError

ROOT = Path(__file__).parents[4]
#: Copies a store and is killed while it writes the third file.
KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from feature_audit.data import local_copy
copied, copy = [], shutil.copyfile
def killed(source, target):
    copied.append(target)
    if len(copied) == 3:
        Path(target).write_bytes(Path(source).read_bytes()[:-1])
        os.kill(os.getpid(), signal.SIGKILL)
    return copy(source, target)
shutil.copyfile = killed
local_copy(Path(sys.argv[1]), sys.argv[2])
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    prepared_of(every_kind(400), folder, group="user", slices=["colour"])
    return folder / "store"


def rows_of(folder: Path) -> list[Any]:
    """Everything that a store contains about its train rows."""
    store = Store.open(folder)
    batch = next(iter(store.batches("train", 10_000)))
    return [
        batch.numeric, batch.codes, *batch.bags, *batch.vectors, store.target("test"), store.group("train"),
        store.row_id("validation"), store.slice_values("train", "colour"), np.array(store.group_labels),
    ]  # fmt: skip


def made(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()]


def test_each_machine_has_one_identical_copy(store: Path, tmp_path: Path) -> None:
    for node in ("a", "b"):
        first = local_copy(store, str(tmp_path / node))
        inode = (first / "layout.json").stat().st_ino
        assert local_copy(store, str(tmp_path / node)) == first
        assert (first / "layout.json").stat().st_ino == inode, "it is copied once"
        assert made(tmp_path / node) == [first]
        for ours, theirs in zip(rows_of(first), rows_of(store), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_sample_is_copied_as_well(store: Path, tmp_path: Path) -> None:
    full = Store.open(store)
    write_sample(full, tmp_path / "sample", pick_rows(full, share=0.5, seed=1))
    copied = Store.open(local_copy(tmp_path / "sample", str(tmp_path / "node")))
    assert copied.rows("train") == Store.open(tmp_path / "sample").rows("train") > 0


def test_a_store_that_was_made_again_is_copied_again(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "store")
    first = local_copy(tmp_path / "store", str(tmp_path / "node"))
    labels = tmp_path / "store" / "train" / "target.npy"
    np.save(labels, 1 - np.load(labels))
    second = local_copy(tmp_path / "store", str(tmp_path / "node"))
    assert second != first
    np.testing.assert_array_equal(Store.open(second).target("train"), 1 - Store.open(first).target("train"))


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"short")])
def test_a_copy_that_lacks_something_is_made_again(store: Path, tmp_path: Path, damage: Any) -> None:
    """Cleaners of temporary folders take files one by one."""
    copy = local_copy(store, str(tmp_path))
    damage(copy / "train" / "numeric.bin")
    assert local_copy(store, str(tmp_path)) == copy
    assert (copy / "train" / "numeric.bin").read_bytes() == (store / "train" / "numeric.bin").read_bytes()


def test_an_interrupted_copy_is_not_used(store: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'pipeline'}{os.pathsep}{ROOT / 'selectors'}"}
    command = [sys.executable, "-c", KILLED, str(store), str(tmp_path)]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    [half] = made(tmp_path)
    assert half.suffix == ".part"
    copy = local_copy(store, str(tmp_path))
    assert made(tmp_path) == [copy]
    np.testing.assert_array_equal(rows_of(copy)[0], rows_of(store)[0])


def test_two_at_once_copy_once(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[Path] = []
    copy = shutil.copyfile

    def slowly(source: Path, target: Path) -> Any:
        copied.append(source)
        time.sleep(0.02)
        return copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", slowly)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: local_copy(store, str(tmp_path)), range(2))
    assert first == second
    assert len(copied) == len(set(copied)), "the second one waits for the first"


def test_a_full_disk_is_one_line_and_leaves_nothing(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = r"^local_dir=.*: on \S+ the training store needs \d.* and .* are free; make room, or give another folder$"

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(DiskFullError, match=says):
            local_copy(store, str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1_000))
        patch.setattr(shutil, "copyfile", lambda *_: pytest.fail("it is known beforehand"))
        with pytest.raises(DiskFullError, match=says):
            local_copy(store, str(tmp_path))
    assert not made(tmp_path)


def test_the_folder_is_what_it_is_on_each_machine(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_DISK", str(tmp_path / "disk"))
    assert local_copy(store, "$NODE_DISK/audit").parent == tmp_path / "disk" / "audit"
    monkeypatch.delenv("NODE_DISK")
    with pytest.raises(AuditError, match=r"^local_dir=\$NODE_DISK/audit: on \S+ the variable is not set; set it on"):
        local_copy(store, "$NODE_DISK/audit")
    (tmp_path / "file").touch()
    with pytest.raises(AuditError, match=r"^local_dir=.*file/audit: on \S+ the training store cannot be copied \(.*; "):
        local_copy(store, str(tmp_path / "file" / "audit"))
