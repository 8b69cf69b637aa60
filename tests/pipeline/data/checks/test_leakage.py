"""Leaks are found in tables that resemble real ones, and strong honest features are kept."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest
from data_helpers import prepared_of
from feature_audit.data.checks.predictive_power import (
    crossfit_auc,
    crossfit_class_auc,
    crossfit_r2,
    halves,
    number_codes,
)
from feature_audit.data.prepared import Prepared
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from log_tables import clinic, hotel, travel
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

pytestmark = pytest.mark.usefixtures("without_expectations")


def found(made: Prepared, kind: str) -> set[str]:
    return {finding.column for finding in made.findings if finding.kind == kind}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_hotel_bookings(tmp_path, seed):
    made, _ = prepared_of(hotel(seed=seed), tmp_path, target="is_canceled")
    assert found(made, "leak") == {"reservation_status", "reservation_status_date"}
    assert found(made, "leak") == set(made.excluded)
    assert "deposit_type" in found(made, "suspected_leak")
    assert {"deposit_type", "lead_time", "required_car_parking_spaces", "agent"} <= set(made.schema.names)


@pytest.mark.parametrize("seed", [0, 1])
def test_hotel_bookings_with_the_arrival_as_time(tmp_path, seed):
    frame = hotel(seed=seed)
    text = frame.select(
        (
            pl.col("arrival_date_day_of_month").cast(pl.String)
            + " "
            + pl.col("arrival_date_month")
            + " "
            + pl.col("arrival_date_year").cast(pl.String)
        )
        .str.to_datetime("%d %B %Y")
        .alias("arrival")
    )
    frame = frame.drop("^arrival_date_.*$").with_columns(text)
    made, _ = prepared_of(frame, tmp_path, target="is_canceled", time="arrival")
    assert found(made, "leak") == {"reservation_status", "reservation_status_date"}
    detail = next(f.detail for f in made.findings if f.column == "reservation_status_date")
    assert detail.startswith("its distance to the time column")


def test_hotel_bookings_with_two_plain_dates(tmp_path):
    """Neither date is the time column; the leak is the one with the name of a recorded outcome."""
    frame = hotel()
    arrival = pl.Series(
        "arrival", [f"{y}-{m}-{d}" for y, m, d in frame.select("^arrival_date_(year|month|day_of_month)$").iter_rows()]
    )
    frame = frame.drop("^arrival_date_.*$", "reservation_status").with_columns(arrival.str.to_date("%Y-%B-%d"))
    made, _ = prepared_of(frame, tmp_path, target="is_canceled")
    assert found(made, "leak") == {"reservation_status_date"}
    assert "arrival" in made.schema.names


@pytest.mark.parametrize(
    "keys", [{"time": "admitted_at", "group": "patient_id"}, {"group": "patient_id", "split": "group"}]
)
def test_clinical_stays(tmp_path, keys):
    made, _ = prepared_of(clinic(), tmp_path, target="died", row_id="stay_id", **keys)
    assert found(made, "leak") == {"discharge_code", "autopsy_at", "palliative_hours", "risk_note"}
    assert {"age", "lactate", "ward"} <= set(made.schema.names)


@pytest.mark.parametrize("seed", [0, 1])
def test_travel_searches(tmp_path, seed):
    made, _ = prepared_of(travel(seed=seed), tmp_path, target="booked", time="date_time", group="srch_id")
    assert found(made, "leak") == {"gross_bookings_usd", "click_then_booked"}
    assert {"price_usd", "position", "amenities", "prop_id"} <= set(made.schema.names)


def test_honest_tables_have_no_leak(tmp_path):
    frame = hotel().drop("reservation_status", "reservation_status_date")
    made, _ = prepared_of(frame, tmp_path, target="is_canceled")
    assert not found(made, "leak")
    assert not made.excluded


def test_the_status_itself_as_a_label_of_three_classes(tmp_path):
    """The rare third class does not hide the information of the date about the other two."""
    made, _ = prepared_of(hotel(), tmp_path, target="reservation_status", exclude="is_canceled")
    assert made.schema.n_classes == 3
    assert found(made, "leak") == {"reservation_status_date"}


def test_a_protected_leak_is_reported_and_kept(tmp_path):
    made, _ = prepared_of(hotel(), tmp_path, target="is_canceled", never_drop="reservation_status")
    finding = next(finding for finding in made.findings if finding.column == "reservation_status")
    assert finding.kind == "leak"
    assert not finding.excluded
    assert finding.detail.endswith("kept because of never_drop")
    assert "reservation_status" in made.schema.names


def leaky(rows: int = 4_000) -> pl.DataFrame:
    """A binary label with leaks of every form and honest columns beside them."""
    rng = np.random.default_rng(3)
    y = rng.random(rows) < 0.3
    noise = rng.random(rows) < 0.005
    return pl.DataFrame(
        {
            "y": y,
            "copy": (y ^ noise).astype(int),
            "words": np.where(y ^ noise, rng.choice(["yes", "si", "oui"], rows), rng.choice(["no", "non"], rows)),
            "shifted": y + rng.normal(0, 0.15, rows),
            "filled": [1.5 if b and u < 0.5 else None for b, u in zip(y, rng.random(rows), strict=True)],
            "gap": [None if b else float(u) for b, u in zip(y, rng.random(rows), strict=True)],
            "tags": [["won", "x"] if b else ["x", "z"] for b in y],
            "empty_list": [[] if b else ["x"] for b in y],
            "vec": [
                [float(b) * 2 + e, f, e]
                for b, e, f in zip(y, rng.normal(0, 0.1, rows), rng.normal(size=rows), strict=True)
            ],
            "hour": [
                f"2024-01-{d:02d} {15 if b else h:02d}:00:00"
                for b, d, h in zip(y, rng.integers(1, 28, rows), rng.integers(0, 15, rows), strict=True)
            ],
            "strong": y + rng.normal(0, 0.7, rows),
            "weak": rng.normal(size=rows) + 0.3 * y,
            "noise_id": rng.integers(0, 3_000, rows).astype(str),
            "honest_tags": [list(rng.choice(["a", "b", "c"], 2)) for _ in range(rows)],
            "honest_vec": rng.normal(size=(rows, 3)).tolist(),
        }
    )


def test_every_form_of_leak_is_found_and_nothing_else(tmp_path):
    made, _ = prepared_of(leaky(), tmp_path)
    leaks = {"copy", "words", "shifted", "filled", "gap", "tags", "empty_list", "vec", "hour"}
    assert found(made, "leak") == leaks
    assert {"strong", "weak", "noise_id", "honest_tags", "honest_vec"} == set(made.schema.names)


def test_multiclass_and_regression_leaks(tmp_path):
    rng = np.random.default_rng(0)
    kind = rng.choice(["a", "b", "c", "d"], 3_000, p=[0.4, 0.3, 0.2, 0.1])
    frame = pl.DataFrame(
        {
            "y": kind,
            "copy": np.char.add("was ", kind),
            "hint": np.where(rng.random(3_000) < 0.4, kind, "a"),
            "x": rng.normal(size=3_000),
        }
    )
    (tmp_path / "a").mkdir()
    made, _ = prepared_of(frame, tmp_path / "a")
    assert found(made, "leak") == {"copy"}
    price = rng.lognormal(4, 1.5, 3_000)
    frame = pl.DataFrame(
        {
            "y": price,
            "euros": price * 0.92 + rng.normal(0, 0.01, 3_000),
            "rank": rankdata(-price),
            "related": np.log(price) + rng.normal(0, 1, 3_000),
        }
    )
    (tmp_path / "b").mkdir()
    made, _ = prepared_of(frame, tmp_path / "b")
    assert made.schema.task == "regression"
    assert found(made, "leak") == {"euros", "rank"}


def recorded(event: np.ndarray, rows_each: int, seed: int = 0) -> pl.DataFrame:
    """Columns recorded after an event, each on ``rows_each`` of its rows, with the usual encodings of "nothing"."""
    rng = np.random.default_rng(seed)
    n = len(event)

    def some() -> np.ndarray:
        return np.isin(np.arange(n), rng.choice(np.flatnonzero(event), rows_each, replace=False))

    amount = rng.lognormal(3, 1, n)
    return pl.DataFrame(
        {
            "like": some().astype(int),
            "follow": some(),
            "comment": np.where(some(), "yes", "no"),
            "stay time": np.where(some(), amount.round(), 0.0),
            "purchase": pl.Series(np.where(some(), amount, np.nan)).fill_nan(None),
            "dwell": np.where(some(), amount.round(1), -1.0),
            "basket": [["a", "b"] if on else [] for on in some()],
            "survey": np.where(some(), None, rng.choice(["x", "y"], n)).tolist(),
            "bought at": pl.Series([i if on else None for i, on in enumerate(some())]).cast(pl.Datetime("us")),
        }
    )


def labelled(share: float, rows: int, seed: int = 0) -> tuple[np.ndarray, pl.DataFrame]:
    """A label and honest columns: one follows it, one is a flag of 40 rows, all positive, one never goes with it."""
    rng = np.random.default_rng(seed)
    y = rng.random(rows) < share
    premium = np.isin(np.arange(rows), rng.choice(np.flatnonzero(y), min(40, y.sum() // 3), replace=False))
    honest = {
        "x": rng.normal(size=rows) + 0.5 * y,
        "strong": np.where(y & (rng.random(rows) < 0.5), 1, (rng.random(rows) < 0.05 * share).astype(int)),
        "premium": premium.astype(int),
        "never": np.where(~y & (rng.random(rows) < 0.2), rng.random(rows), 0.0),
    }
    return y, pl.DataFrame({"y": y.astype(int), **honest})


@pytest.mark.parametrize(("share", "each"), [(0.05, 200), (0.2, 250), (0.4, 300), (0.52, 400)])
def test_outcomes_on_few_rows_of_a_class_are_leaks(tmp_path, share, each):
    """On 1 to 25 % of the positives; the number of rows decides, and honest rare columns are kept."""
    y, honest = labelled(share, 9_000)
    outcomes = recorded(y, each)
    made, _ = prepared_of(honest.hstack(outcomes), tmp_path)
    assert found(made, "leak") == set(outcomes.columns)
    assert {"x", "strong", "premium", "never"} == set(made.schema.names)
    detail = next(f.detail for f in made.findings if f.column == "purchase")
    assert re.fullmatch(r"filled on \d+ train rows, all of them positive: probably recorded after the event", detail)
    detail = next(f.detail for f in made.findings if f.column == "dwell")
    assert detail.startswith("other than -1.0 on ")


def test_outcomes_on_too_few_rows_are_suspected_and_kept(tmp_path):
    y, honest = labelled(0.2, 9_000)
    outcomes = recorded(y, 50)
    made, _ = prepared_of(honest.hstack(outcomes), tmp_path)
    assert not found(made, "leak")
    assert found(made, "suspected_leak") >= set(outcomes.columns)
    assert {"x", "never", "strong"}.isdisjoint(found(made, "suspected_leak"))
    assert set(outcomes.columns) <= set(made.schema.names)


@pytest.mark.parametrize(
    ("mistakes", "kind"), [(0, "leak"), (2, "leak"), (3, "suspected_leak"), (20, "suspected_leak")]
)
def test_a_leak_is_found_despite_one_wrong_row_in_a_thousand(tmp_path, mistakes, kind):
    """A column filled on 2,000 train rows, some of them of the other class."""
    rng = np.random.default_rng(0)
    y = np.arange(12_000) % 5 < 2
    on = np.concatenate([np.flatnonzero(y)[: 2_000 - mistakes], np.flatnonzero(~y)[:mistakes]])
    amount = np.full(12_000, np.nan)
    amount[on] = rng.normal(size=2_000)
    train = pl.DataFrame({"y": y.astype(int), "x": rng.normal(size=12_000), "refund": amount})
    rest = train.sample(2_000, seed=0)
    parts = [part.with_columns(part=pl.lit(name)) for name, part in
             (("train", train), ("validation", rest.head(1_000)), ("test", rest.tail(1_000)))]  # fmt: skip
    made, _ = prepared_of(pl.concat(parts).fill_nan(None), tmp_path, split="part")
    assert found(made, kind) == {"refund"}
    assert ("refund" in made.schema.names) is (kind != "leak")


@pytest.mark.parametrize("task", ["rare", "multiclass", "regression"])
def test_outcomes_of_other_tasks_are_leaks(tmp_path, task):
    rng = np.random.default_rng(1)
    if task == "rare":
        event = np.zeros(150_000, dtype=bool)
        event[rng.choice(150_000, 200, replace=False)] = True
        label, each = pl.Series(event.astype(int)), 190
    else:
        kind = rng.choice(4, 9_000, p=[0.6, 0.25, 0.1, 0.05])
        event, each = kind == 1, 300
        named = pl.Series(np.array(["none", "click", "cart", "buy"])[kind])
        label = named if task == "multiclass" else pl.Series(np.where(event, rng.lognormal(3, 1, 9_000), 0.0))
    outcomes = recorded(event, each)
    frame = outcomes.with_columns(y=label, x=pl.Series(rng.normal(size=len(event)) + 0.2 * event))
    made, _ = prepared_of(frame, tmp_path, task="binary" if task == "rare" else task)
    assert found(made, "leak") == set(outcomes.columns)
    assert made.schema.names == ("x",)


@pytest.mark.parametrize(("share", "rows"), [pytest.param(0.02, 6_000, marks=pytest.mark.slow), (0.4, 2_000)])
def test_a_thousand_columns_of_noise_have_no_finding(tmp_path, share, rows):
    rng = np.random.default_rng(4)
    columns: dict[str, np.ndarray] = {"y": (rng.random(rows) < share).astype(int)}
    for i in range(250):  # four columns each
        on = rng.random(rows) < rng.choice([0.003, 0.01, 0.05, 0.3])
        columns |= {f"flag {i}": on.astype(int), f"amount {i}": np.where(on, rng.normal(size=rows), np.nan)}
        columns |= {f"number {i}": rng.normal(size=rows), f"kind {i}": rng.zipf(1.4, rows).astype(str)}
    made, _ = prepared_of(pl.DataFrame(columns), tmp_path)
    assert not found(made, "leak")
    assert not found(made, "suspected_leak")


def test_an_attribute_of_a_few_users_is_no_record_of_the_event(tmp_path):
    """300 rows of four users who always click are four observations, not 300; a like varies within a user."""
    rng = np.random.default_rng(0)
    user = np.concatenate([np.repeat(np.arange(4), 100), 4 + rng.integers(0, 300, 7_600)])
    y = (user < 4) | (rng.random(8_000) < 0.2)
    like = np.isin(np.arange(8_000), rng.choice(np.flatnonzero(y & (user >= 4)), 300, replace=False))
    frame = pl.DataFrame(
        {"y": y.astype(int), "user": user, "invited": (user < 4).astype(int), "x": rng.normal(size=8_000), "like": like}
    )
    made, _ = prepared_of(frame, tmp_path, group="user", split="random")
    assert found(made, "leak") == {"like"}
    assert not found(made, "suspected_leak")


def test_one_value_of_many_does_not_exclude_a_column(tmp_path):
    """An agent whose 400 bookings were all cancelled is reported, but the bookings of other agents are useful."""
    rng = np.random.default_rng(0)
    y = rng.random(6_000) < 0.4
    agent = np.where(y & (rng.random(6_000) < 0.17), "a0", rng.choice([f"a{i}" for i in range(1, 40)], 6_000))
    made, _ = prepared_of(pl.DataFrame({"y": y.astype(int), "agent": agent, "x": rng.normal(size=6_000)}), tmp_path)
    assert found(made, "suspected_leak") == {"agent"}
    assert "'a0' on " in next(f.detail for f in made.findings if f.column == "agent")
    assert "agent" in made.schema.names


def test_a_date_after_the_event_is_suspected(tmp_path):
    rng = np.random.default_rng(0)
    at = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 4, 1), "1h", eager=True)
    frame = pl.DataFrame({"at": at, "y": rng.random(len(at)) < 0.4, "x": rng.normal(size=len(at))}).with_columns(
        updated_at=pl.col("at") + pl.duration(hours=pl.lit(pl.Series(rng.integers(-50, 200, len(at))))),
        made_at=pl.col("at") - pl.duration(hours=pl.lit(pl.Series(rng.integers(1, 200, len(at))))),
    )
    made, _ = prepared_of(frame, tmp_path, time="at")
    assert found(made, "suspected_leak") == {"updated_at"}
    assert "later than the time of the row" in next(f.detail for f in made.findings if f.column == "updated_at")


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=8, max_size=200), st.integers(0, 9))
@settings(max_examples=60)
def test_auc_over_codes_is_the_auc_of_scikit_learn(rows, seed):
    codes, positive = np.array([c for c, _ in rows]), np.array([p for _, p in rows])
    half = halves(len(codes), seed)
    expected = []
    for fit, judged in ((half, ~half), (~half, half)):
        assume(0 < positive[judged].sum() < judged.sum())
        total = np.bincount(codes[fit], minlength=7)
        hits = np.bincount(codes[fit], weights=positive[fit], minlength=7)
        share = ((hits + 5 * hits.sum() / max(total.sum(), 1)) / (total + 5)).round(12)  # ties are ties
        expected.append(roc_auc_score(positive[judged], share[codes[judged]]))
    assert crossfit_auc(codes, positive, half) == pytest.approx(np.mean(expected))


def test_cross_fitted_auc_of_ids_and_noise_is_one_half():
    """Cross-fitting: a code per row has an AUC of one half, many noisy codes nearly so."""
    rng = np.random.default_rng(0)
    y = rng.random(20_000) < 0.2
    half = halves(20_000, 0)
    assert crossfit_auc(np.arange(20_000), y, half) == pytest.approx(0.5, abs=1e-9)
    assert crossfit_auc(rng.integers(0, 5_000, 20_000), y, half) == pytest.approx(0.5, abs=0.02)
    assert crossfit_class_auc(rng.integers(0, 50, 20_000), rng.integers(0, 5, 20_000), half) == pytest.approx(
        0.5, abs=0.02
    )
    assert abs(crossfit_r2(rng.integers(0, 50, 20_000), rng.normal(size=20_000), half)) < 0.02


def test_number_codes_separate_missing_atoms_and_ranges():
    numbers = np.concatenate([[np.nan] * 10, [0.0] * 5_000, np.random.default_rng(0).exponential(size=5_000)])
    codes = number_codes(numbers)
    assert (codes[:10] == 0).all()
    assert len(set(codes[10:5_010])) == 1
    assert codes[10] not in codes[5_010:]
    tail = numbers[5_010:]
    assert (np.diff(codes[5_010:][np.argsort(tail)]) >= 0).all()
