"""Tables that are easily misread, through the command line: messages of load, and quality of the full model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import feature_audit, tracking_in


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a tracking store."""
    with tracking_in(tmp_path_factory.mktemp("misread")) as folder:
        yield folder


def clicks(logit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (rng.random(len(logit)) < 1 / (1 + np.exp(-logit))).astype(int)


def test_load_says_what_was_inferred_and_what_is_uncertain(
    home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    rng = np.random.default_rng(0)
    rows = 7_000
    shops = {f"shop_{number:02d}": (rng.permutation(10**6)[:60], rng.normal(0, 0.7, 60)) for number in range(12)}
    who = {name: rng.integers(0, 60, rows) for name in shops}
    logit = sum(effect[who[name]] for name, (_, effect) in shops.items())
    start = datetime(2026, 1, 1)
    frame = pl.DataFrame(
        {
            "user_id": rng.integers(1, 90, rows),
            "ts": [start + timedelta(minutes=int(minute)) for minute in rng.integers(0, 90_000, rows)],
            "fold": rng.choice(["train", "valid", "test"], rows, p=[0.6, 0.2, 0.2]),
            "weight": rng.random(rows),
            "tags": [f"a{one}|b{other}" for one, other in rng.integers(0, 9, (rows, 2))],
            "price": [f"{value:,}" for value in rng.integers(100, 9_999, rows)],
            **{name: keys[who[name]] for name, (keys, _) in shops.items()},
            "y": clicks(np.asarray(logit), rng),
        }
    )
    frame.write_csv(home / "log.csv")
    assert feature_audit("load", "--data", str(home / "log.csv"), "--target", "y") == 0
    lines = [line.partition("load: ")[2] for line in capfd.readouterr().err.splitlines()]
    [summary] = [line for line in lines if line.startswith("7,000 rows")]
    assert "18 features (2 numeric, 14 categories, 1 list, 1 date)" in summary
    assert re.search(r"[\d.]+ % positive, split random; ", summary)
    for hint in ("time (time=ts)", "split (split=fold)", "group (group=user_id)", "weight (weight=weight unless"):
        assert f"looks like a {hint}" in summary
    asked = [line for line in lines if "kinds: {shop_" in line or line.startswith("price:")]
    assert len(asked) == 2
    assert asked[0].startswith("12 integer columns are read as categories (shop_00, shop_01, ")
    assert asked[0].endswith("order matters, set kinds: {shop_00: numeric, shop_01: numeric, shop_02: numeric, ...}")


def hashes(rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    """64-bit hashes with the top bit set, and the same as text."""
    keys, effects = [rng.integers(2**63, 2**64, size, dtype=np.uint64) for size in (80, 60)], (1.6, 1.0)
    who = [rng.integers(0, len(key), 6_000) for key in keys]
    logit = sum(rng.normal(0, spread, len(key))[w] for key, w, spread in zip(keys, who, effects, strict=True))
    frame = pl.DataFrame({f"k{i}": key[w] for i, (key, w) in enumerate(zip(keys, who, strict=True))})
    frame = frame.with_columns(y=clicks(np.asarray(logit), rng), noise=rng.normal(size=6_000))
    return frame, frame.with_columns(pl.format("h{}", name).alias(name) for name in ("k0", "k1"))


def plain_ids(rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ids with names of quantities, with gaps and without, and the same as text."""
    keys = {"merchant": rng.permutation(10**7)[:150], "seat": np.arange(120)}
    who = {name: rng.integers(0, len(key), 8_000) for name, key in keys.items()}
    logit = sum(rng.normal(0, 1.2, len(key))[who[name]] for name, key in keys.items())
    frame = pl.DataFrame({name: key[who[name]] for name, key in keys.items()})
    frame = frame.with_columns(y=clicks(np.asarray(logit), rng), noise=rng.normal(size=8_000))
    return frame, frame.with_columns(pl.format("h{}", name).alias(name) for name in keys)


def amounts(rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Formatted sums, shares and counts, and the same as numbers."""
    price, views = np.exp(rng.normal(6, 1, 5_000)), np.exp(rng.normal(8, 1.5, 5_000))
    share = rng.beta(2, 5, 5_000)
    label = clicks(1.2 * (np.log(price) - 6) + 0.8 * (np.log(views) - 8) + 4 * (share - 0.28), rng)
    euro = [f"{value:,.2f} €".translate(str.maketrans(",.", ".,")) for value in price]
    count = [f"{value / 1000:.1f}k" if value > 1000 else f"{value:.0f}" for value in views]
    written = pl.DataFrame({"price": euro, "views": count, "share": [f"{100 * v:.1f} %" for v in share], "y": label})
    return written, pl.DataFrame({"price": price, "views": views, "share": share, "y": label})


def guests(rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ids of 18 digits of three guests, closer than floats can distinguish; and the same with a letter in front."""
    who = rng.integers(0, 40, 4_000)
    user = pl.Series([f"{10**17 + 3 * one}" for one in who]).scatter([5, 1_005, 3_005], "guest")
    frame = pl.DataFrame({"user": user, "y": clicks(rng.normal(0, 1.9, 40)[who], rng), "noise": rng.normal(size=4_000)})
    return frame, frame.with_columns(pl.format("u{}", "user").alias("user"))


@pytest.mark.slow
@pytest.mark.parametrize("make", [hashes, plain_ids, amounts, guests])
def test_the_full_model_is_as_good_as_on_the_table_as_it_is_meant(
    home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, make: object
) -> None:
    monkeypatch.chdir(home)
    reached = []
    for number, frame in enumerate(make(np.random.default_rng(4))):  # type: ignore[operator]
        path = home / f"{make.__name__}_{number}.csv"  # type: ignore[attr-defined]
        frame.write_csv(path)
        words = ("--data", str(path), "--target", "y", "--profile", "quick", "--threads", "1")
        assert feature_audit("baseline", *words) == 0
        found = re.findall(r"validation auc ([\d.]+)", capfd.readouterr().err)
        reached.append(float(found[-1]))
    written, meant = reached
    assert meant > 0.7
    assert written > meant - 0.01
