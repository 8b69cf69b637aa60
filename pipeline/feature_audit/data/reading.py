"""Opens what the user points at as one lazy Polars frame with a fixed row order."""

from __future__ import annotations

import glob
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from feature_audit.config import AuditConfig
from feature_audit.data import atomic, text
from feature_audit.data.messages import READ_ERRORS, listing, one_line
from feature_audit.errors import AuditError

Progress = Callable[[str], None]

PARQUET = (".parquet", ".pq", ".parq")
ARROW = (".arrow", ".ipc", ".feather")
TEXT = (".csv", ".tsv", ".txt", ".tab")
#: Rows per row group of the tables we write; a fixed number makes their bytes independent of the thread count.
ROW_GROUP = 65_536
#: First and last rows of remote data by which it is told that it has changed.
_GLANCE_ROWS = 1_000


@dataclass(frozen=True)
class Source:
    """A table to audit.

    Attributes:
        frame: all rows in a fixed order, typed.
        origin: column -> source table, where the input says so (RecBole's user and item files).
        notes: what reading had to decide, for the report.
    """

    frame: pl.LazyFrame
    origin: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def column(self, name: str) -> pl.Series:
        """One whole column.

        Raises:
            AuditError: a file is corrupt there.
        """
        return self.collect(self.frame.select(pl.col(name)))[name]

    def rows(self, columns: Sequence[str], start: int, length: int) -> pl.DataFrame:
        """Consecutive rows of some columns."""
        return self.collect(self.frame.select(columns).slice(start, length))

    @staticmethod
    def collect(frame: pl.LazyFrame) -> pl.DataFrame:
        """A query on the table, run; a corrupt file is an ``AuditError``."""
        try:
            return frame.collect()
        except READ_ERRORS as error:
            raise AuditError(f"data: cannot be read to the end ({one_line(error)}); write the file again") from None

    def chunks(self, rows: int, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
        """The table in order, ``rows`` rows at a time (the last one shorter), so that memory is bounded.

        Raises:
            AuditError: a file turns out to be corrupt in the middle.
        """
        frame = self.frame if columns is None else self.frame.select(columns)
        try:
            for chunk in frame.collect_batches(chunk_size=rows, maintain_order=True):
                yield from chunk.iter_slices(rows)
        except READ_ERRORS as error:
            raise AuditError(f"data: cannot be read to the end ({one_line(error)}); write the file again") from None


def resolve_data(config: AuditConfig, directory: Path) -> str:
    """The path, glob or URI to read; ``demo`` is made first, under ``directory``."""
    if config.data != "demo":
        return config.data
    from feature_audit.data.demo import ensure_demo

    return str(ensure_demo(directory).path)


def open_source(config: AuditConfig, data: str, directory: Path, progress: Progress) -> Source:
    """Open ``data``, staging text and prepared tables as Parquet once.

    Args:
        config: reader settings and ``prepare``.
        data: path, glob, folder or URI.
        directory: where staged tables are written.
        progress: told what takes long.

    Raises:
        AuditError: nothing there, empty, corrupt, ragged or of mixed types; the line names the file.
    """
    if config.prepare:
        return Source(_stage(_call_prepare(config.prepare, data), directory / "prepared.parquet", progress))
    if _is_remote(data):
        remote = _open_remote(data)
        is_text = _bare_suffix(Path(data.split("?", maxsplit=1)[0])) in TEXT
        return Source(_stage(remote, directory / "staged.parquet", progress) if is_text else _not_empty(remote, data))
    files = local_files(data)
    suffix = format_of(files[0])
    for file in files:
        if file.stat().st_size == 0:
            raise AuditError(f"data={file}: the file is empty")
        if format_of(file) != suffix:
            raise AuditError(
                f"data={file}: a {format_of(file)} file beside {suffix} files; point to files of one format"
            )
    if suffix == "inter":
        if len(files) > 1:
            raise AuditError(f"data={data}: {len(files)} .inter files; point to one")
        frame, origin = atomic.read_atomic(files[0], progress)
        return Source(_stage(frame, directory / "staged.parquet", progress), origin)
    if suffix == "text":
        frame, notes = text.read_text(files, config.reader, directory / "staged.parquet", progress)
        return Source(_numbered(_not_empty(frame, data), config.reader.row_number), notes=notes)
    root = Path(data) if Path(data).is_dir() else None
    return Source(_not_empty(_scan_binary(files, suffix, root), data))


def _numbered(frame: pl.LazyFrame, name: str | None) -> pl.LazyFrame:
    """The frame with a first column that counts its rows from 0, where a name for it is given."""
    if name is None:
        return frame
    if name in frame.collect_schema():
        raise AuditError(f"reader.row_number={name}: the table has a column of that name; choose another")
    return frame.with_row_index(name)


def local_files(data: str) -> tuple[Path, ...]:
    """Files of a path, a glob or a folder (searched to the bottom), sorted.

    Raises:
        AuditError: nothing matches.
    """
    path = Path(data).expanduser()
    if path.is_file():
        return (path,)
    if path.is_dir():
        known = (*PARQUET, *ARROW, *TEXT, ".inter")
        found = sorted(
            file
            for file in path.rglob("*")
            if file.is_file() and _bare_suffix(file) in known and file.name[0] not in "._"
        )
        if not found:
            raise AuditError(f"data={data}: the folder holds no Parquet, Arrow or CSV file")
        return tuple(found)
    found = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())
    if found:
        return tuple(found)
    if any(sign in data for sign in "*?["):
        raise AuditError(f"data={data}: the glob matches no file (looked from {Path.cwd()})")
    near = [other.name for other in sorted(path.parent.glob("*"))[:50]] if path.parent.is_dir() else []
    hint = f"the folder has {listing(near)}" if near else f"nor the folder {path.parent}"
    raise AuditError(f"data={data}: no such file; {hint}")


def format_of(file: Path) -> str:
    """``parquet``, ``arrow``, ``text`` or ``inter``, by the file's name.

    Raises:
        AuditError: the name fits none.
    """
    suffix = _bare_suffix(file)
    if suffix in PARQUET:
        return "parquet"
    if suffix in ARROW:
        return "arrow"
    if suffix in TEXT:
        return "text"
    if suffix == ".inter":
        return "inter"
    raise AuditError(
        f"data={file}: unknown format {suffix or '(no suffix)'}; known: .parquet .csv .tsv .txt (.gz) .arrow .inter"
    )


def input_digest(data: str) -> str:
    """blake2b of every input file's name and bytes; of remote data, which is not read as a whole for this, a glance."""
    digest = hashlib.blake2b(digest_size=16)
    if _is_remote(data):
        for part in _glance(data):
            digest.update(part)
        return digest.hexdigest()
    files = list(local_files(data))
    if files[0].suffix == ".inter":
        files += [file for file in atomic.companions(files[0]).values() if file.is_file()]
    for file in files:
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def _bare_suffix(file: Path) -> str:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    while suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _is_remote(data: str) -> bool:
    return re.match(r"^[a-z][a-z0-9+.-]+://", data, flags=re.IGNORECASE) is not None


def _glance(uri: str) -> Iterator[bytes]:
    """URI, schema and first rows of remote data; of Parquet and Arrow, whose files know them, last rows and count.

    Raises:
        AuditError: it cannot be read.
    """
    frame = _open_remote(uri)
    yield repr((uri, frame.collect_schema())).encode()
    parts = [frame.head(_GLANCE_ROWS)]
    if _bare_suffix(Path(uri.split("?", maxsplit=1)[0])) not in TEXT:
        parts += [frame.tail(_GLANCE_ROWS), frame.select(pl.len())]
    try:
        for part in parts:
            yield part.collect().write_ipc(None).getvalue()
    except READ_ERRORS as error:
        raise AuditError(f"data={uri}: cannot be read ({one_line(error)})") from None


def _open_remote(uri: str) -> pl.LazyFrame:
    suffix = _bare_suffix(Path(uri.split("?", maxsplit=1)[0]))
    scan = pl.scan_ipc if suffix in ARROW else pl.scan_csv if suffix in TEXT else pl.scan_parquet
    try:
        frame = scan(uri)
        frame.collect_schema()
    except READ_ERRORS as error:
        raise AuditError(f"data={uri}: cannot be opened ({one_line(error)})") from None
    return frame


def _scan_binary(files: tuple[Path, ...], suffix: str, root: Path | None) -> pl.LazyFrame:
    """One scan over Parquet or Arrow files whose columns and types agree; hive keys of a folder become columns."""
    first: pl.Schema | None = None
    for file in files:
        schema = _schema_of(file, suffix)
        if first is None:
            first = schema
        else:
            _same_schema(first, schema, files[0], file)
    hive = root is not None and any("=" in part for part in files[0].relative_to(root).parts[:-1])
    if suffix == "parquet":
        return pl.scan_parquet(
            list(files),
            hive_partitioning=hive,
            cast_options=pl.ScanCastOptions(integer_cast="upcast", float_cast="upcast"),
        )
    return pl.scan_ipc(list(files), hive_partitioning=hive)


def _schema_of(file: Path, suffix: str) -> pl.Schema:
    try:
        return (pl.scan_parquet(file) if suffix == "parquet" else pl.scan_ipc(file)).collect_schema()
    except READ_ERRORS as error:
        raise AuditError(f"data={file}: not a readable {suffix} file ({one_line(error)}); write it again") from None


def _same_schema(first: pl.Schema, other: pl.Schema, first_file: Path, file: Path) -> None:
    missing = [name for name in first if name not in other]
    extra = [name for name in other if name not in first]
    if missing or extra:
        which, where = (missing[0], first_file) if missing else (extra[0], file)
        raise AuditError(
            f"data={file}: column {which} is only in {where.name}; all files of a glob need the same columns"
        )
    for name, dtype in first.items():
        if dtype != other[name] and not _widens(other[name], dtype):
            raise AuditError(
                f"data={file}: column {name} is {other[name]}, but {dtype} in {first_file.name}; write it with one type"
            )


def _widens(narrow: pl.DataType, wide: pl.DataType) -> bool:
    """True where Polars reads ``narrow`` as ``wide`` without loss, as its scan options allow."""
    if narrow.is_float() and wide.is_float():
        return narrow == pl.Float32 and wide == pl.Float64
    if (narrow.is_signed_integer() and wide.is_signed_integer()) or (
        narrow.is_unsigned_integer() and wide.is_unsigned_integer()
    ):
        return int(re.sub(r"\D", "", str(narrow))) < int(re.sub(r"\D", "", str(wide)))
    return False


def _not_empty(frame: pl.LazyFrame, data: str) -> pl.LazyFrame:
    try:
        rows = frame.select(pl.len()).collect().item()
    except READ_ERRORS as error:
        raise AuditError(f"data={data}: cannot be read ({one_line(error)})") from None
    if rows == 0:
        raise AuditError(f"data={data}: no rows")
    return frame


def _call_prepare(name: str, data: str) -> pl.LazyFrame:
    module, _, function = name.partition(":")
    if not function:
        raise AuditError(f"prepare={name}: write it as package.module:function")
    _see_working_directory()
    try:
        build = getattr(importlib.import_module(module), function)
    except ImportError as error:
        raise AuditError(f"prepare={name}: cannot import {module} ({one_line(error)})") from None
    except AttributeError:
        raise AuditError(f"prepare={name}: module {module} has no function {function}") from None
    try:
        made = build(data)
    except AuditError:
        raise
    except Exception as error:  # the user's code may fail in any way; the chain keeps its traceback for the log
        raise AuditError(f"prepare={name}: failed with {type(error).__name__}: {one_line(error)}") from error
    if isinstance(made, pl.DataFrame):
        made = made.lazy()
    if not isinstance(made, pl.LazyFrame):
        raise AuditError(f"prepare={name}: returned a {type(made).__name__}; return a Polars LazyFrame of features")
    return made


def prepare_source(name: str) -> bytes:
    """The bytes of the file that holds the user's ``prepare`` function, so that an edit counts as new data."""
    _see_working_directory()
    try:
        found = importlib.util.find_spec(name.partition(":")[0])
    except (ImportError, ValueError):
        found = None
    return Path(found.origin).read_bytes() if found and found.origin and Path(found.origin).is_file() else b""


def _see_working_directory() -> None:
    """Let imports find a module of the user's in the working directory, as ``python -m`` would."""
    if "" not in sys.path:
        sys.path.insert(0, "")


def _stage(frame: pl.LazyFrame, path: Path, progress: Progress) -> pl.LazyFrame:
    progress(f"writing the prepared table to {path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        frame.sink_parquet(path, row_group_size=ROW_GROUP, maintain_order=True)
    except READ_ERRORS as error:
        raise AuditError(f"data: the table cannot be built ({one_line(error)})") from None
    return _not_empty(pl.scan_parquet(path), path.name)
