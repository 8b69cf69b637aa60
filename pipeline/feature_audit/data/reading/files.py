"""Input files: paths, globs, folders, their formats, and the split of each file."""

from __future__ import annotations

import difflib
import fnmatch
import glob
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from feature_audit.data.messages import listing, quoted
from feature_audit.errors import AuditError

#: Rows per row group of Parquet files written here.
ROW_GROUP = 65_536
PARQUET = (".parquet", ".pq", ".parq")
ARROW = (".arrow", ".ipc", ".feather")
TEXT = (".csv", ".tsv", ".txt", ".tab", ".dat", ".data")
JSON = (".jsonl", ".ndjson", ".json")
#: Archives and compressed files that are not read.
_PACKED = (".zip", ".bz2", ".xz", ".lz4", ".br", ".7z", ".tar", ".tgz", ".rar")
_FORMATS = {"parquet": PARQUET, "arrow": ARROW, "text": TEXT, "json": JSON, "inter": (".inter",)}
#: Marker files of versioned table formats, and how Polars reads the current version.
_VERSIONED = {
    "_delta_log": ("a Delta table", "polars.scan_delta(path)"),
    "metadata/*.metadata.json": ("an Iceberg table", "polars.scan_iceberg(path)"),
    ".hoodie": ("a Hudi table", "its current version as a polars.LazyFrame"),
}
_SPLIT_WORDS = {
    "train": "train", "training": "train", "valid": "validation", "validation": "validation", "val": "validation",
    "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip


def local_files(data: str) -> tuple[Path, ...]:
    """Files of a path, a glob, a folder (recursive) or a comma-separated list of these, each sorted.

    Hidden files and folders (``.ipynb_checkpoints``, ``_temporary``, ``_SUCCESS``) are skipped.

    Raises:
        AuditError: no file matches, or the folder is a versioned table that also contains old versions.
    """
    path = Path(data).expanduser()
    if os.path.isfile(path):  # accepts any text, whereas Path raises if a name is too long
        return (path,)
    if os.path.isdir(path):
        _refuse_versions(path)
        found = sorted(file for file in _below(path) if format_or_none(file))
        if not found:
            raise AuditError(f"data={data}: the folder contains no Parquet, Arrow, CSV or JSON file; give another path")
        return tuple(found)
    matches = [Path(name) for name in glob.glob(str(path), recursive=True)]
    found = sorted(file for file in matches if file.is_file() and not _is_hidden(file, path))
    if not found:  # a pattern of folders, such as log/day=2026-01-*
        folders = (folder for folder in matches if folder.is_dir() and not _is_hidden(folder, path))
        found = sorted({file for folder in folders for file in _below(folder) if format_or_none(file)})
    if found:
        for folder in {file.parent for file in found}:
            _refuse_versions(folder)
        return tuple(found)
    if "," in data:
        parts = [part.strip() for part in data.split(",") if part.strip()]
        return tuple(dict.fromkeys(file for part in parts for file in local_files(part)))
    if any(sign in data for sign in "*?["):
        raise AuditError(f"data={data}: the glob matches no file (looked in {Path.cwd()}); give another glob")
    raise AuditError(f"data={data}: no such file; {_hint(path)}")


def _hint(path: Path) -> str:
    """What the folder of a file that is not there offers: logs and folders, not what an audit writes beside them."""
    if not os.path.isdir(path.parent):
        return f"there is no folder {path.parent} either; give another path"
    visible = [other for other in path.parent.glob("*") if other.name[0] not in "._" and other.name != "mlruns"]
    names = sorted(other.name for other in visible if format_or_none(other) or other.is_dir())
    near = difflib.get_close_matches(path.name, names, n=1)
    if near:
        return f"did you mean {quoted(near[0])}?"
    if names:
        return f"the folder has {listing(names)}"
    return f"the folder {path.parent.absolute()} has no log; give another path"


def hive_root(data: str) -> Path | None:
    """The folder below which folders such as ``day=1`` are hive keys: the folder, or the part of a glob without a
    pattern; None for a file or a list.
    """
    path = Path(data).expanduser()
    if os.path.isdir(path):
        return path
    fixed = list(itertools.takewhile(lambda part: not any(sign in part for sign in "*?["), path.parts))
    return Path(*fixed) if len(fixed) < len(path.parts) else None


def hive_keys(file: Path, root: Path | None) -> dict[str, str | None]:
    """Hive key -> its text for one file (``__HIVE_DEFAULT_PARTITION__`` = None); empty without a root."""
    if root is None or root not in file.parents:
        return {}
    pairs = (part.split("=", maxsplit=1) for part in file.relative_to(root).parts[:-1] if "=" in part)
    return {key: None if text == "__HIVE_DEFAULT_PARTITION__" else unquote(text) for key, text in pairs}


def format_of(file: Path) -> str:
    """``parquet``, ``arrow``, ``text``, ``json`` or ``inter``, by file name.

    Raises:
        AuditError: the format is unknown.
    """
    found = format_or_none(file)
    if found is None and bare_suffix(file) in _PACKED:
        raise AuditError(
            f"data={file}: {bare_suffix(file)} files are not read; unpack it, or compress it as .gz or .zst"
        )
    if found is None:
        raise AuditError(
            f"data={file}: unknown format {bare_suffix(file) or '(no suffix)'}; known: .parquet .csv .tsv .txt .dat "
            ".jsonl (.gz, .zst) .arrow .inter; rename text to .txt and give reader.separator, or read the file "
            "yourself with prepare=package.module:function"
        )
    return found


def format_or_none(file: Path) -> str | None:
    """The format, or None if it is unknown."""
    suffix = bare_suffix(file)
    return next((form for form, suffixes in _FORMATS.items() if suffix in suffixes), None)


def bare_suffix(file: Path) -> str:
    """The suffix in lower case, without ``.gz`` and ``.zst``."""
    suffixes = [suffix.lower() for suffix in file.suffixes]
    while suffixes and suffixes[-1] in (".gz", ".zst"):
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def split_of_files(files: Sequence[Path], split_files: Mapping[Any, str]) -> dict[Path, str]:
    """The split of each file, by ``split_files``: split -> path, name, folder or glob.

    Raises:
        AuditError: a file is in no split or in two, or a split has no file.
    """
    found: dict[Path, str] = {}
    for split, pattern in split_files.items():
        path = Path(pattern).expanduser()
        mine = [
            file
            for file in files
            if path in (file, *file.parents) or file.match(pattern) or fnmatch.fnmatch(str(file), str(path))
        ]
        if not mine:
            raise AuditError(f"split_files.{split}={pattern}: matches none of the files ({_names(files)})")
        for file in mine:
            if file in found:
                raise AuditError(
                    f"split_files.{split}={pattern}: {file} is also in split_files.{found[file]}; remove it from one "
                    "of them"
                )
            found[file] = split
    left = [file for file in files if file not in found]
    if left:
        raise AuditError(f"split_files: {_names(left)} is not in any split; add it to one, or change data")
    return found


def looks_like_splits(files: Sequence[Path]) -> str | None:
    """A message if each of several files is named after a split, else None."""
    splits: dict[str, list[Path]] = {}
    for file in files:
        words = [_SPLIT_WORDS.get(word) for word in re.split(r"[^a-z]+", file.name.lower())]
        named = {word for word in words if word}
        if len(named) != 1:
            return None
        splits.setdefault(named.pop(), []).append(file)
    if not {"train", "test"} <= splits.keys():
        return None
    shown = ", ".join(f"{split}: {mine[0].name}" for split, mine in splits.items())
    return (
        f"{_names(files)} look like splits, but their rows are combined and split again; to use them as splits, give "
        f"split_files: {{{shown}}}"
    )


def _below(folder: Path) -> list[Path]:
    """Files below a folder, without hidden ones; each symbolic link is followed once."""
    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if name[0] not in "._" or "=" in name)
        found += [Path(place) / name for name in names if name[0] not in "._"]
    return found


def _is_hidden(file: Path, pattern: Path) -> bool:
    """True if a part of the path is hidden and the pattern does not name it explicitly."""
    spelled = {part[0] for part in pattern.parts}
    return any(part[0] in "._" and part[0] not in spelled and "=" not in part for part in file.parts if part != "..")


def _refuse_versions(folder: Path) -> None:
    for inside in (folder, *folder.parents[:2]):
        for mark, (what, reader) in _VERSIONED.items():
            if next(inside.glob(mark), None) is not None:
                raise AuditError(
                    f"data={folder}: {what}, whose folder also contains old versions of rows; write the current "
                    f"version as Parquet, or give prepare=package.module:function that returns {reader}"
                )


def _names(files: Sequence[Path]) -> str:
    return listing([file.name for file in files])
