"""Whether whole numbers are codes or quantities is decided by the label, not by their names."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from data_helpers import prepared_of
from feature_audit.data.overview import unsure_integers
from feature_audit.schema import Column

pytestmark = pytest.mark.usefixtures("without_expectations")

SIZES = {"signed": 60, "device": 150, "member": 200, "digits": 100, "padded": 80}
TASKS = ("binary", "regression", "multiclass")


def labelled(score: np.ndarray, task: str, rng: np.random.Generator) -> np.ndarray:
    score = score - score.mean()
    if task == "binary":
        return (rng.random(len(score)) < 1 / (1 + np.exp(-score))).astype(int)
    if task == "regression":
        return score + rng.normal(size=len(score))
    return (np.stack([score, -score / 2, 0 * score], 1) + rng.gumbel(size=(len(score), 3))).argmax(1)


def codes(rows: int, rng: np.random.Generator) -> tuple[pl.DataFrame, np.ndarray]:
    """Six columns of codes that decide the label, and their joint effect."""
    keys = {
        "signed": rng.integers(-(2**63), 2**63, SIZES["signed"]),
        "device": rng.integers(10**7, 10**8, SIZES["device"]),
        "member": rng.permutation(SIZES["member"]) + 1,
        "digits": rng.integers(10**8, 10**9, SIZES["digits"]),
        "padded": rng.integers(0, 10**5, SIZES["padded"]),
    }
    who = {name: rng.integers(0, size, rows) for name, size in SIZES.items()}
    effect = sum(rng.normal(0, 1.2, size)[who[name]] for name, size in SIZES.items())
    cells = pl.DataFrame({name: keys[name][who[name]] for name in SIZES}).with_columns(
        pl.col("digits").cast(pl.String), pl.col("padded").cast(pl.String).str.zfill(6)
    )
    gaps = pl.Series(rng.random(rows) < 0.1)  # integers with a null arrive as floats
    return cells.with_columns(
        unsigned=pl.Series([value + 2**63 for value in cells["signed"].to_list()], dtype=pl.UInt64),
        gappy=cells["device"].cast(pl.Float64).set(gaps, None),
    ), np.asarray(effect)


def quantities(rows: int, rng: np.random.Generator) -> tuple[pl.DataFrame, np.ndarray]:
    """Columns of quantities that decide the label, with many distinct values, and their joint effect."""
    cents = (100 * np.exp(rng.normal(4, 1, rows))).astype(int)
    points = np.round(np.exp(rng.normal(5, 0.8, rows))).astype(int) * 100 - 1  # 199, 1299, ...
    views, year = rng.zipf(1.6, rows).clip(0, 10**7), rng.integers(1950, 2025, rows)
    stamp, dwell = np.sort(rng.integers(1_600_000_000, 1_700_000_000, rows)), rng.integers(0, 100_000, rows)
    stars, area = rng.integers(1, 6, rows), rng.integers(10_000, 99_999, rows)
    effect = 0.7 * (np.log(cents) - 8.6) - 0.6 * np.log(points) + 0.4 * np.log(views) + 0.02 * (year - 1990)
    effect = effect + 0.4 * stars + np.sin(area / 15_000) + (dwell - 50_000) / 40_000
    cells = pl.DataFrame(
        {
            "cents": cents, "points": points, "views": views, "year": year, "stamp": stamp, "dwell": dwell,
            "stars": stars, "area": area,
        }
    )  # fmt: skip
    gaps = pl.Series(rng.random(rows) < 0.1)
    return cells.with_columns(
        as_text=cells["cents"].cast(pl.String),
        gappy=cells["cents"].cast(pl.Float64).set(gaps, None),
        nanoseconds=cells["stamp"] * 10**9 + rng.integers(0, 10**6, rows) * 1_000,
    ), effect


@pytest.mark.parametrize("task", TASKS)
def test_codes_are_categories_whatever_they_are_called(tmp_path, task):
    rng = np.random.default_rng(5)
    frame, effect = codes(4_000, rng)
    made, _ = prepared_of(frame.with_columns(y=labelled(effect, task, rng)), tmp_path, task=task)
    assert {column.name: column.kind for column in made.columns} == dict.fromkeys(frame.columns, "categorical")
    [line] = made.summary["unsure"]
    assert "integer column" in line
    assert "member" in line
    assert "member: numeric" in line
    assert "order matters" in line
    assert "padded" not in line  # leading zeros leave no doubt


@pytest.mark.parametrize(("task", "rows"), [*((task, 500) for task in TASKS), ("binary", 6_000)])
def test_quantities_are_numbers(tmp_path, task, rows):
    rng = np.random.default_rng(rows)
    frame, effect = quantities(rows, rng)
    made, _ = prepared_of(frame.with_columns(y=labelled(effect, task, rng)), tmp_path, task=task)
    kinds = {column.name: column.kind for column in made.columns}
    assert kinds == dict.fromkeys(frame.columns, "numeric")


def test_quantities_determined_by_an_id_are_not_ids(tmp_path):
    """A price per listing and an account age per member identify listings and members, but are quantities."""
    rng = np.random.default_rng(1)
    rows, members, listings = 12_000, 500, 300
    member, listing = rng.integers(0, members, rows), rng.integers(0, listings, rows)
    days, price = rng.integers(0, 1_500, members), (100 * np.exp(rng.normal(4, 1, listings))).astype(int)
    effect = rng.normal(0, 1, members)[member] + rng.normal(0, 1, listings)[listing]
    frame = pl.DataFrame(
        {
            "listing": rng.permutation(10**5)[:listings][listing], "price": price[listing],
            "member": rng.permutation(10**6)[:members][member], "days": days[member],
            "y": labelled(effect, "binary", rng),
        }
    )  # fmt: skip
    kinds = {"listing": "categorical", "price": "numeric", "member": "categorical", "days": "numeric"}
    made, _ = prepared_of(frame, tmp_path)
    assert {column.name: column.kind for column in made.columns} == kinds
    made, _ = prepared_of(frame, tmp_path, group="member")
    assert {column.name: column.kind for column in made.columns} == {k: v for k, v in kinds.items() if k != "member"}


def test_the_user_and_a_clear_order_win_over_the_name(tmp_path):
    rng = np.random.default_rng(2)
    rows = 5_000
    cents = (100 * np.exp(rng.normal(4, 1, rows))).astype(int)
    who, effect = rng.integers(0, 100, rows), rng.normal(0, 1.5, 100)
    label = labelled(1.5 * np.log(cents) + effect[who], "binary", rng)
    frame = pl.DataFrame(
        {
            "paid_id": cents,
            "customer": 7 + 31 * who,
            "noise_id": rng.integers(0, 90, rows),
            "rows": rng.integers(0, 90, rows),
            "y": label,
        }
    )
    made, _ = prepared_of(frame, tmp_path, kinds={"customer": "numeric"})
    kinds = {column.name: column.kind for column in made.columns}
    assert kinds == {"paid_id": "numeric", "customer": "numeric", "noise_id": "categorical", "rows": "numeric"}
    line = "1 integer column is read as a quantity (paid_id); if it is a code, set kinds: {paid_id: categorical}"
    assert made.summary["unsure"] == [line]


def test_many_columns_in_doubt_are_one_line_per_reading():
    names = [f"c{number}" for number in range(12)]
    kinds = dict.fromkeys(names, "numeric") | {"who": "categorical", "clear": "numeric"}
    columns = tuple(Column(name, kind, "Int64") for name, kind in kinds.items())
    numbers, categories = unsure_integers(columns, [*names, "who"])
    assert numbers == (
        f"12 integer columns are read as quantities ({', '.join(names[:10])} and 2 more); if they are codes, "
        "set kinds: {c0: categorical, c1: categorical, c2: categorical, ...}"
    )
    assert categories == (
        "1 integer column is read as a category (who); if its order matters, set kinds: {who: numeric}"
    )
