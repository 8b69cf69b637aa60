"""A copy of a training store on a local disk, for work folders on a network file system."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import socket
from pathlib import Path

from feature_audit.data.table.splits import SPLITS
from feature_audit.disk import DiskFullError, is_full, size_of
from feature_audit.errors import AuditError
from feature_audit.locking import held

log = logging.getLogger(__name__)


def local_copy(store: Path, local_dir: str) -> Path:
    """The store's copy below ``local_dir``, created if missing: atomically, and once for all processes.

    A copy is named after the sizes and times of the store's files, so that a rebuilt store gets a new copy. Missing
    files (removed by cleaners of temporary folders) are copied again.

    Args:
        store: the folder of a finished store.
        local_dir: a local folder, created if needed; variables such as ``$TMPDIR`` are expanded in this process.

    Raises:
        DiskFullError: there is not enough disk space.
        AuditError: a variable is not set, or the folder is not writable.
    """
    home = Path(os.path.expanduser(os.path.expandvars(local_dir)))
    here = f"local_dir={local_dir}: on {socket.gethostname()}"
    if "$" in str(home):
        raise AuditError(f"{here} the variable is not set; set it on every node, or give a folder")
    sizes = {path.relative_to(store): path.stat().st_size for path in _files(store)}
    times = [(store / name).stat().st_mtime_ns for name in sizes]
    digest = hashlib.blake2b(repr((sorted(map(str, sizes.items())), sorted(times))).encode(), digest_size=8)
    copy = home.absolute() / f"store_{digest.hexdigest()}"
    if _complete(copy, sizes):
        return copy
    try:
        with held(copy.with_suffix(".lock"), f"{here} another process copies the training store; waiting for it"):
            if not _complete(copy, sizes):
                _copy(store, copy, sizes, here)
    except OSError as error:
        if is_full(error):
            raise DiskFullError(_no_room(here, home, sizes)) from error
        raise AuditError(f"{here} the training store cannot be copied ({error}); give another folder") from error
    return copy


def _copy(store: Path, copy: Path, sizes: dict[Path, int], here: str) -> None:
    """Copy the files and, if all sizes match, move the folder to its final name."""
    part = copy.with_suffix(".part")
    for left in (part, copy):  # remains of a killed process, and an incomplete copy
        shutil.rmtree(left, ignore_errors=True)
    if sum(sizes.values()) > shutil.disk_usage(part.parent).free:
        raise DiskFullError(_no_room(here, part.parent, sizes))
    log.info("%s the training store is copied, %s", here, size_of(sum(sizes.values())))
    try:
        for name in sizes:
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store / name, part / name)
        if not _complete(part, sizes):
            raise AuditError(f"{here} the copy of {store} is incomplete; give the same command again")
        part.rename(copy)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _no_room(here: str, folder: Path, sizes: dict[Path, int]) -> str:
    free = size_of(shutil.disk_usage(folder).free)
    needed = size_of(sum(sizes.values()))
    return f"{here} the training store needs {needed} and {free} are free; make room, or give another folder"


def _files(store: Path) -> list[Path]:
    """The files that reading a store needs; its folder also contains results of the load stage."""
    found = [path for split in SPLITS for path in sorted((store / split).glob("*"))]
    return [path for path in (store / "layout.json", store / "group_labels.parquet", *found) if path.is_file()]


def _complete(copy: Path, sizes: dict[Path, int]) -> bool:
    try:
        return all((copy / name).stat().st_size == size for name, size in sizes.items())
    except (FileNotFoundError, NotADirectoryError):
        return False
