"""Small simulated tables with known truth: a hotel's bookings, a clinic's stays, a travel shop's searches."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl

MONTHS = [f"{datetime(2015, month, 1):%B}" for month in range(1, 13)]


def hotel(rows: int = 12_000, seed: int = 0) -> pl.DataFrame:
    """Bookings with label ``is_canceled``; ``reservation_status`` and ``..._date`` are written after the fact.

    ``deposit_type`` is a strong honest feature: nearly every non-refundable booking is cancelled, but not quite.
    """
    rng = np.random.default_rng(seed)
    lead = rng.gamma(1.2, 80, rows).round()
    deposit = np.where(
        rng.random(rows) < 0.12, "Non Refund", np.where(rng.random(rows) < 0.01, "Refundable", "No Deposit")
    )
    parking = (rng.random(rows) < 0.06).astype(int)
    segment = rng.choice(
        ["Online TA", "Offline TA/TO", "Direct", "Groups", "Corporate"], rows, p=[0.47, 0.2, 0.11, 0.17, 0.05]
    )
    logit = -1.5 + 0.006 * lead + 0.7 * (segment == "Groups") - 8.0 * parking
    canceled = rng.random(rows) < 1 / (1 + np.exp(-logit))
    canceled = np.where(deposit == "Non Refund", rng.random(rows) < 0.994, canceled)
    arrival = [datetime(2015, 7, 1) + timedelta(days=int(d)) for d in rng.integers(0, 793, rows)]
    nights = rng.integers(1, 10, rows)
    before = (lead * rng.random(rows)).astype(int)
    status_date = [
        a - timedelta(days=int(b)) if c else a + timedelta(days=int(n))
        for a, b, c, n in zip(arrival, before, canceled, nights, strict=True)
    ]
    status = np.where(canceled, np.where(rng.random(rows) < 0.03, "No-Show", "Canceled"), "Check-Out")
    agent = rng.zipf(1.6, rows) % 300
    return pl.DataFrame(
        {
            "hotel": rng.choice(["City Hotel", "Resort Hotel"], rows),
            "is_canceled": canceled.astype(np.int64),
            "lead_time": lead.astype(np.int64),
            "arrival_date_year": [a.year for a in arrival],
            "arrival_date_month": [MONTHS[a.month - 1] for a in arrival],
            "arrival_date_week_number": [a.isocalendar().week for a in arrival],
            "arrival_date_day_of_month": [a.day for a in arrival],
            "stays_in_nights": nights,
            "adults": rng.integers(1, 4, rows),
            "market_segment": segment,
            "deposit_type": deposit,
            "agent": np.where(rng.random(rows) < 0.14, "NULL", agent.astype(str)),
            "required_car_parking_spaces": parking,
            "adr": rng.normal(100, 40, rows).clip(0).round(2),
            "reservation_status": status,
            "reservation_status_date": [s.date() for s in status_date],
        }
    )


def clinic(rows: int = 8_000, seed: int = 0) -> pl.DataFrame:
    """Stays with label ``died``; the death date, the discharge code and its missingness are written after the fact."""
    rng = np.random.default_rng(seed)
    age = rng.normal(62, 16, rows).clip(18, 99).round()
    lactate = np.where(rng.random(rows) < 0.6, np.nan, rng.gamma(2, 1.2, rows))
    logit = -4.6 + 0.035 * (age - 60) + 0.9 * np.nan_to_num(lactate, nan=2.0)
    died = rng.random(rows) < 1 / (1 + np.exp(-logit))
    admitted = [datetime(2019, 1, 1) + timedelta(hours=int(h)) for h in rng.integers(0, 24 * 900, rows)]
    stay = rng.gamma(2, 48, rows)
    discharge = np.where(died, rng.choice(["20", "40", "41"], rows), rng.choice(["1", "2", "3", "6"], rows))
    autopsy = [
        a + timedelta(hours=float(s)) if d and r < 0.5 else None
        for a, s, d, r in zip(admitted, stay, died, rng.random(rows), strict=True)
    ]
    return pl.DataFrame(
        {
            "stay_id": np.arange(rows) + 70_000,
            "patient_id": rng.integers(0, rows // 2, rows),
            "admitted_at": admitted,
            "age": age,
            "sex": rng.choice(["F", "M"], rows),
            "lactate": lactate,
            "ward": rng.choice(["ICU", "Med", "Surg"], rows),
            "died": died,
            "discharge_code": discharge,
            "autopsy_at": autopsy,
            "palliative_hours": [
                float(h) if d and r < 0.4 else None for h, d, r in zip(stay, died, rng.random(rows), strict=True)
            ],
            "risk_note": (died.astype(float) + rng.normal(0, 0.2, rows)),
        },
        schema_overrides={"autopsy_at": pl.Datetime("us"), "palliative_hours": pl.Float64},
    )


def travel(rows: int = 10_000, seed: int = 0) -> pl.DataFrame:
    """Search impressions with label ``booked`` (4 %); ``gross_bookings_usd`` is filled only for bookings."""
    rng = np.random.default_rng(seed)
    price = rng.lognormal(4.6, 0.5, rows)
    position = rng.integers(1, 40, rows)
    logit = -2.6 - 0.07 * position - 0.4 * (np.log(price) - 4.6)
    booked = rng.random(rows) < 1 / (1 + np.exp(-logit))
    start = datetime(2013, 1, 1)
    return pl.DataFrame(
        {
            "srch_id": np.sort(rng.integers(0, rows // 25, rows)),
            "date_time": [start + timedelta(minutes=int(m)) for m in np.sort(rng.integers(0, 60 * 24 * 200, rows))],
            "prop_id": rng.zipf(1.3, rows) % 5000,
            "price_usd": price.round(2),
            "position": position,
            "prop_starrating": rng.integers(0, 6, rows),
            "visitor_hist_adr_usd": [
                float(v) if r < 0.05 else None for v, r in zip(price, rng.random(rows), strict=True)
            ],
            "amenities": [
                rng.choice(["wifi", "pool", "spa", "bar", "gym"], rng.integers(0, 4), replace=False).tolist()
                for _ in range(rows)
            ],
            "booked": booked.astype(np.int8),
            "click_then_booked": np.where(rng.random(rows) < 0.01, 1 - booked, booked).astype(np.int8),
            "gross_bookings_usd": [float(p) if b else None for p, b in zip(price, booked, strict=True)],
        },
        schema_overrides={
            "visitor_hist_adr_usd": pl.Float64,
            "gross_bookings_usd": pl.Float64,
            "amenities": pl.List(pl.String),
        },
    )
