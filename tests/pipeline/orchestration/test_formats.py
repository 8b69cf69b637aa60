"""The same log in every supported format, audited from the file to the verdict by the command line."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from click_log import SIGNALS, make_log
from command_line import artifact, feature_audit, newest_audit, tracking_in

pytestmark = pytest.mark.slow

KEYS = ["--target", "clicked", "--row_id", "impression", "--time", "ts", "--group", "user_id", "--margin", "0.02"]
QUICK = ["--profile", "quick", "--trials", "1", "--seeds", "2", "--model", "mlp", "--k", "8", "--threads", "1"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a tracking store."""
    with tracking_in(tmp_path_factory.mktemp("formats")) as folder:
        yield folder


def audited(*words: str) -> set[str]:
    """The kept features of an audit with a verdict."""
    assert feature_audit("run", *KEYS, *QUICK, *words) == 0
    run = newest_audit()
    assert run.data.tags["audit.verdict"] in ("pass", "inconclusive", "fail")
    assert artifact(run, "report/index.html").stat().st_size > 0
    return set(artifact(run, "recommendation/kept_features.txt").read_text().splitlines())


@pytest.fixture(scope="module")
def log() -> pl.DataFrame:
    """A short click log in time order."""
    return make_log(4_000)


@pytest.fixture(scope="module")
def kept(home: Path, log: pl.DataFrame) -> set[str]:
    """The features kept by an audit of the log as one Parquet file."""
    log.write_parquet(home / "log.parquet")
    found = audited("--data", str(home / "log.parquet"))
    assert set(SIGNALS) <= found
    return found


def write(form: str, log: pl.DataFrame, folder: Path) -> list[str]:
    """Write the log in a format; returns the command-line arguments to read it."""
    folder.mkdir()
    parts = list(log.iter_slices(1_500))
    path = folder / "log"
    words: list[str] = []
    match form:
        case "glob" | "folder":
            for number, part in enumerate(parts):
                part.write_parquet(folder / f"part-{number}.parquet")
            path = folder / "part-*.parquet" if form == "glob" else folder
        case "ipc":
            path = folder / "log.arrow"
            log.write_ipc(path)
        case "csv.gz":
            path = folder / "log.csv.gz"
            path.write_bytes(gzip.compress(log.write_csv().encode()))
        case "raw":
            path = folder / "train.txt"
            log.write_csv(path, separator="\t", include_header=False)
            reader = {"separator": "\t", "has_header": False, "columns": log.columns}
            (folder / "raw.yaml").write_text(yaml.safe_dump({"reader": reader}))
            words = ["--config", str(folder / "raw.yaml")]
    return ["--data", str(path), *words]


@pytest.mark.parametrize("form", ["glob", "folder", "ipc", "csv.gz", "raw"])
def test_every_format_leads_to_the_same_features(home: Path, log: pl.DataFrame, kept: set[str], form: str) -> None:
    """The rows are the same in the same order, so the whole audit is the same, including its random numbers."""
    assert audited(*write(form, log, home / form)) == kept


def test_a_hive_folder_gives_its_key_as_a_column(home: Path, log: pl.DataFrame) -> None:
    table = log.with_columns(country=pl.Series(np.array(["NL", "BE", "DE"])[np.arange(log.height) % 3]))
    table.write_parquet(pl.PartitionBy(home / "hive", key="country"), mkdir=True)
    assert set(SIGNALS) <= audited("--data", str(home / "hive"))
    ranking = pl.read_parquet(artifact(newest_audit(), "selection/ranking.parquet"))
    assert ranking.filter(feature="country")["kind"].to_list() == ["categorical"]


def test_atomic_files_are_audited_over_all_three_tables(home: Path) -> None:
    """The users' taste and the films' appeal determine the label; age and year are noise. The tables are the files."""
    rng = np.random.default_rng(1)
    users, items, rows = 300, 120, 4_000
    taste, appeal = rng.normal(size=users), rng.normal(size=items)
    user, item = rng.integers(0, users, rows), rng.integers(0, items, rows)
    liked = rng.random(rows) < 1 / (1 + np.exp(-2 * taste[user] - 2 * appeal[item]))
    folder = home / "atomic"
    folder.mkdir()
    words = rng.choice(["Drama", "War", "Comedy"], (items, 2))
    shown = [
        f"u{u}\ti{i}\t{n}\t{int(liked[n])}\t{n}\t{n % 24}" for n, (u, i) in enumerate(zip(user, item, strict=True))
    ]
    people = [f"u{n}\t{taste[n]:.4f}\t{rng.integers(18, 80)}" for n in range(users)]
    films = [f"i{n}\t{appeal[n]:.4f}\t{' '.join(words[n])}\t{rng.integers(1950, 2000)}" for n in range(items)]
    lines = {
        "inter": ["user_id:token\titem_id:token\tts:float\tclicked:float\timpression:token\thour:float", *shown],
        "user": ["user_id:token\ttaste:float\tage:token", *people],
        "item": ["item_id:token\tappeal:float\tgenre:token_seq\tyear:float", *films],
    }
    for table, content in lines.items():
        (folder / f"ml.{table}").write_text("\n".join(content) + "\n")
    assert {"taste", "appeal"} <= audited("--data", str(folder / "ml.inter"), "--k", "4", "--exclude", "item_id")
    ranking = pl.read_parquet(artifact(newest_audit(), "selection/ranking.parquet"))
    groups = dict(zip(ranking["feature"], ranking["group"], strict=True))
    assert groups == {
        "hour": "inter",
        "taste": "user",
        "age": "user",
        "appeal": "item",
        "genre": "item",
        "year": "item",
    }
