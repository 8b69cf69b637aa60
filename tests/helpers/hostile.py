"""A small valid table, and hostile cases based on it: files, options, and the expected output of the command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import feature_audit

ROWS = 300


def table() -> pl.DataFrame:
    """Columns x and z (numbers), c (words), y (the label), with a signal in x."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=ROWS)
    return pl.DataFrame(
        {
            "x": x,
            "z": rng.normal(size=ROWS),
            "c": rng.choice(["ams", "ber", "cph"], ROWS),
            "y": (x + rng.normal(size=ROWS) > 0).astype(int),
        }
    )


TABLE = table()
CSV = TABLE.write_csv().encode()


def parquet(frame: pl.DataFrame) -> bytes:
    """The bytes of its file."""
    stream = BytesIO()
    frame.write_parquet(stream)
    return stream.getvalue()


@dataclass(frozen=True)
class Case:
    """One command on one table.

    Attributes:
        name: for people, and for pytest.
        data: bytes of the file, a frame that is written as Parquet, or what makes several files in a folder.
        says: texts in the error line; for an accepted table, texts in the log.
        code: the exit code.
        file: name of the file, or the glob that is given.
        words: further arguments of the command.
        target: name of the label.
    """

    name: str
    data: bytes | pl.DataFrame | Callable[[Path], object]
    says: tuple[str, ...]
    code: int = 1
    file: str = "log.csv"
    words: tuple[str, ...] = ()
    target: str = "y"

    def write(self, folder: Path) -> str:
        """Write the files; returns the value of ``--data``."""
        folder.mkdir(exist_ok=True)
        if isinstance(self.data, pl.DataFrame):
            self.data.write_parquet(folder / "log.parquet")
            return str(folder / "log.parquet")
        if isinstance(self.data, bytes):
            (folder / self.file).write_bytes(self.data)
        else:
            self.data(folder)
        return str(folder / self.file)


def check(case: Case, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Run the command of the case and compare its output with the table."""
    data = case.write(home / f"case_{len(list(home.iterdir()))}")
    capfd.readouterr()
    code = feature_audit("load", "--data", data, "--target", case.target, "--threads", "1", *case.words)
    written = capfd.readouterr().err
    assert code == case.code, written
    assert "Traceback" not in written
    assert "panicked" not in written
    lines = [line for line in written.splitlines() if "error:" in line]
    assert len(lines) == (code != 0), written
    assert all(len(line) < 1_000 for line in lines)
    said = lines[0] if lines else written
    for words in case.says:
        assert words in said
