"""The demo log on disk: written once per seed and version of the generator, deterministic, in seconds."""

from __future__ import annotations

import ast
import hashlib
import os
import zlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from feature_audit.datasets.demo.catalogue import SIGNALS, noise_families
from feature_audit.datasets.demo.extras import constants, leaks, render_extras
from feature_audit.datasets.demo.families import Rendered, render
from feature_audit.datasets.demo.label import draw_label
from feature_audit.datasets.demo.truth import ColumnTruth, Truth
from feature_audit.datasets.demo.world import simulate_world

N_ROWS, N_USERS, N_ITEMS = 80_000, 6_000, 3_000
TABLES = ("user", "item", "ctx", "hist", "vec")

#: Configuration of the demo; a user's own keys win over these.
DEFAULTS: dict[str, Any] = {
    "target": "clicked",
    "task": "binary",
    "row_id": "impression_id",
    "time": "event_time",
    "group": "user_id",
    "split": "time",
    "groups": {table: (f"{table}_*",) for table in TABLES},
}


@dataclass(frozen=True)
class DemoData:
    """The files of the demo log and the configuration that describes it.

    Attributes:
        path: Parquet file of the log, in time order.
        truth: JSON file with the role of every column (``Truth.read``).
        defaults: configuration keys that describe the log, e.g. target, time and group.
    """

    path: Path
    truth: Path
    defaults: dict[str, Any] = field(default_factory=lambda: dict(DEFAULTS))


def ensure_demo(directory: Path, seed: int = 0) -> DemoData:
    """Write the demo log to ``directory``, unless the files of this version exist.

    Both files are written under a temporary name and renamed, the truth last, so if it exists, the log is complete.
    """
    stem = f"demo-{_version()}-seed{seed}"
    data = DemoData(directory / f"{stem}.parquet", directory / f"{stem}.truth.json")
    if data.path.is_file() and data.truth.is_file():
        return data
    frame, truth = make_demo(seed)
    directory.mkdir(parents=True, exist_ok=True)
    part = data.path.with_suffix(f".{os.getpid()}.part")
    frame.write_parquet(part, compression="zstd")
    part.replace(data.path)
    truth.write(part)
    part.replace(data.truth)
    return data


def make_demo(seed: int = 0, *, n_rows: int = N_ROWS) -> tuple[pl.DataFrame, Truth]:
    """Generate the log and its truth.

    Every part has a separate random stream, so that a change of one part does not affect the others.

    Args:
        seed: seed of all streams.
        n_rows: number of impressions.

    Returns:
        The table in time order (80,000 rows by default): ids, time, features and the label ``clicked`` (0 or 1);
        and the role of each feature.
    """
    world = simulate_world(_stream(seed, "world"), n_rows=n_rows, n_users=N_USERS, n_items=N_ITEMS)
    signals = {family.name: render(family, world, _stream(seed, family.name)) for family in SIGNALS}
    noise = {
        family.name: render(family, world, _stream(seed, family.name))
        for family in noise_families(_stream(seed, "noise families"))
    }
    extras = render_extras(world, _stream(seed, "extras"))
    label, probability = draw_label(world, signals, extras, _stream(seed, "label"))

    columns: dict[str, pl.Series] = {}
    truth: dict[str, ColumnTruth] = {}
    driving = {*signals, "vec_user_taste", *extras.strength}
    for name, family in {**signals, **noise, **extras.families}.items():
        _add_family(columns, truth, family, name if name in driving else None)
    for series in constants(n_rows):
        columns[series.name], truth[series.name] = series, ColumnTruth("constant")
    _add_duplicates(columns, truth, _stream(seed, "duplicates"))
    for series in leaks(label, _stream(seed, "leaks")):
        columns[series.name], truth[series.name] = series, ColumnTruth("leak")
    item_id = pl.Series("item_id", world.item + 10_000)
    columns["item_id"], truth["item_id"] = item_id.cast(pl.String), ColumnTruth("key")

    order = sorted(columns, key=lambda name: (TABLES.index(name.split("_", 1)[0]), name))
    frame = pl.DataFrame(
        [
            pl.Series("impression_id", np.arange(n_rows)),
            pl.Series("event_time", world.timestamps),
            pl.Series("user_id", world.user + 100_000).cast(pl.String),
            *(columns[name] for name in order),
            pl.Series("clicked", label),
        ]
    )
    auc = _auc(label, probability)
    return frame, Truth({name: truth[name] for name in order}, seed=seed, bayes_auc=auc, version=_version())


def _add_family(
    columns: dict[str, pl.Series], truth: dict[str, ColumnTruth], family: Rendered, group: str | None
) -> None:
    for number, series in enumerate(family.columns):
        columns[series.name] = series
        role = "noise" if group is None else "signal" if number == 0 else "copy"
        truth[series.name] = ColumnTruth(role, group)  # type: ignore[arg-type]


def _add_duplicates(columns: dict[str, pl.Series], truth: dict[str, ColumnTruth], rng: np.random.Generator) -> None:
    """Add exact duplicates of signals, copies and noise under other names."""
    for role, count in (("signal", 4), ("copy", 2), ("noise", 3)):
        names = [n for n, t in truth.items() if t.role == role and not n.startswith("vec_") and n != "item_tags"]
        for name in rng.choice(names, count, replace=False):
            twin = f"{name}_dup"
            columns[twin] = columns[name].alias(twin)
            truth[twin] = ColumnTruth("duplicate", truth[name].group, of=str(name))


def _stream(seed: int, part: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(part.encode())])


def _auc(label: np.ndarray, score: np.ndarray) -> float:
    from scipy.stats import rankdata

    positives = int(label.sum())
    ranks = rankdata(score)[label == 1].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * (len(label) - positives)))


@cache
def _version() -> str:
    """Digest of the generator's code, so that a changed generator writes a new file."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256("".join(map(_code, sources)).encode()).hexdigest()[:8]


def _code(source: Path) -> str:
    """A module's code without comments and docstrings, which do not change the data."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)
