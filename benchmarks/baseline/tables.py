"""Raw tables of the baseline benchmark: real ones if present on this machine, bundled ones and simulated ones."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

DATA = Path(__file__).resolve().parents[2] / "../shared/data"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Table:
    """Features (numbers with NaN, or strings), a target, and row numbers of the three splits."""

    name: str
    task: str
    frame: pl.DataFrame
    target: np.ndarray
    splits: dict[str, np.ndarray]


def random_split(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    order = np.random.default_rng(seed).permutation(rows)
    return dict(zip(SPLITS, np.split(order, [int(0.6 * rows), int(0.8 * rows)]), strict=True))


def ordered_split(rows: int) -> dict[str, np.ndarray]:
    return dict(zip(SPLITS, np.split(np.arange(rows), [int(0.6 * rows), int(0.8 * rows)]), strict=True))


def santander() -> Table:
    frame = pl.read_parquet(DATA / "santander/train.parquet")
    target = frame["TARGET"].to_numpy()
    frame = frame.drop("ID", "TARGET").cast(pl.Float64)
    kept = [name for name in frame.columns if frame[name].n_unique() > 1]
    seen: dict[bytes, str] = {}
    kept = [name for name in kept if seen.setdefault(frame[name].to_numpy().tobytes(), name) == name]
    return Table("santander", "binary", frame.select(kept), target, random_split(len(target)))


def criteo() -> Table:
    with gzip.open(DATA / "criteo-10k/train_examples.txt.gz") as file:
        names = ["label", *(f"i{n}" for n in range(13)), *(f"c{n}" for n in range(26))]
        types = {name: pl.String if name.startswith("c") else pl.Float64 for name in names}
        frame = pl.read_csv(file.read(), separator="\t", has_header=False, new_columns=names, schema_overrides=types)
    target = frame["label"].to_numpy().astype(np.int64)
    return Table("criteo-10k", "binary", frame.drop("label"), target, ordered_split(len(target)))


def movielens() -> Table:
    """ML-100k in time order, with counts and means over the past only."""
    read = {
        part: pl.read_csv(DATA / f"ml-100k/ml-100k.{part}", separator="\t", quote_char=None, infer_schema=False)
        for part in ("inter", "user", "item")
    }
    read = {part: frame.rename({name: name.split(":")[0] for name in frame.columns}) for part, frame in read.items()}
    log = (
        read["inter"]
        .with_columns(pl.col("rating", "timestamp").cast(pl.Float64))
        .sort("timestamp", maintain_order=True)
        .join(read["user"], on="user_id", how="left", maintain_order="left")
        .join(read["item"], on="item_id", how="left", maintain_order="left")
    )
    like = (log["rating"] >= 4).cast(pl.Float64)
    log = log.with_columns(like.alias("like"), pl.from_epoch(log["timestamp"].cast(pl.Int64)).alias("at"))
    past = []
    for key in ("user_id", "item_id"):
        before = pl.int_range(pl.len()).over(key)
        past += [
            before.cast(pl.Float64).alias(f"{key}_count"),
            ((pl.col("like").cum_sum().over(key) - pl.col("like") + 2.5) / (before + 5)).alias(f"{key}_like_rate"),
            (pl.col("timestamp") - pl.col("timestamp").shift(1).over(key)).alias(f"{key}_recency"),
        ]
    genres = sorted({word for text in read["item"]["class"] for word in (text or "").split()})
    flags = [pl.col("class").str.contains(word, literal=True).cast(pl.Float64).alias(f"is_{word}") for word in genres]
    frame = log.with_columns(*past, *flags, hour=pl.col("at").dt.hour().cast(pl.Float64))
    frame = frame.with_columns(pl.col("age", "release_year").cast(pl.Float64, strict=False))
    target = frame["like"].to_numpy().astype(np.int64)
    frame = frame.drop("rating", "timestamp", "like", "at", "class", "movie_title")
    return Table("ml-100k", "binary", frame, target, ordered_split(len(target)))


def demo() -> Table:
    from feature_audit.datasets.demo import make_demo

    frame, truth = make_demo(0)
    roles = {name: entry.role for name, entry in truth.columns.items()}
    target = frame["clicked"].to_numpy().astype(np.int64)
    kept = [name for name, role in roles.items() if role not in {"constant", "leak", "duplicate"}]
    scalar = [n for n in kept if frame[n].dtype.is_numeric() or frame[n].dtype in (pl.String, pl.Boolean)]
    frame = frame.select(pl.col(n) if frame[n].dtype == pl.String else pl.col(n).cast(pl.Float64) for n in scalar)
    return Table("demo", "binary", frame, target, ordered_split(len(target)))


def madelon() -> Table:
    return _mat("madelon")


def isolet() -> Table:
    return _mat("Isolet")


def _mat(name: str) -> Table:
    from scipy.io import loadmat

    content = loadmat(DATA / f"highdim/{name}.mat")
    labels = np.unique(content["Y"].ravel(), return_inverse=True)[1]
    task = "binary" if labels.max() == 1 else "multiclass"
    values = content["X"].astype(np.float64)
    frame = pl.DataFrame(values, schema=[f"x{n}" for n in range(values.shape[1])], orient="row")
    return Table(name.lower(), task, frame, labels, random_split(len(labels)))


def bundled(name: str) -> Table:
    from sklearn import datasets

    content = getattr(datasets, f"load_{name}")()
    frame = pl.DataFrame(content.data.astype(np.float64), schema=[f"x{n}" for n in range(content.data.shape[1])])
    task = {"diabetes": "regression", "breast_cancer": "binary"}.get(name, "multiclass")
    return Table(name, task, frame, content.target, random_split(len(frame)))


def hotel(rows: int = 40_000, seed: int = 7) -> Table:
    """Bookings: heavy-tailed lead times and prices, high-cardinality agents and countries, 37 % cancelled."""
    draw = np.random.default_rng(seed)
    lead = np.round(draw.exponential(90, rows) * draw.choice([0.1, 1, 2], rows, p=[0.3, 0.5, 0.2]))
    country = np.minimum(draw.zipf(1.5, rows) - 1, 170)
    agent = np.minimum(draw.zipf(1.35, rows) - 1, 900)
    adr = np.exp(draw.normal(4.5, 0.5, rows)) * (draw.random(rows) > 0.02)
    deposit = draw.choice(3, rows, p=[0.85, 0.13, 0.02])
    requests, previous = draw.poisson(0.6, rows), draw.poisson(0.1, rows) * draw.poisson(3, rows)
    nights, month = draw.poisson(3, rows) + 1, draw.integers(1, 13, rows)
    signal = (
        0.5 * np.log1p(lead) * (1 + 0.5 * (deposit == 0))
        + draw.normal(0, 0.8, 171)[country]
        + draw.normal(0, 0.7, 901)[agent]
        + 2.5 * (deposit == 1)
        - 0.9 * np.minimum(requests, 3)
        + 1.2 * (previous > 0)
        + 0.4 * np.cos(month / 12 * 2 * np.pi) * (adr > 100)
        + 0.3 * np.log1p(adr)
    )
    target = draw.random(rows) < 1 / (1 + np.exp(-(signal - np.quantile(signal, 0.6))))
    columns: dict[str, np.ndarray] = {
        "lead": lead, "adr": adr, "requests": requests, "previous": previous, "nights": nights, "month": month
    }  # fmt: skip
    columns |= {f"noise_{n}": draw.lognormal(0, 1.5, rows) for n in range(12)}
    columns |= {f"copy_{n}": lead + draw.normal(0, 30, rows) for n in range(3)}
    frame = pl.DataFrame({name: values.astype(np.float64) for name, values in columns.items()}).with_columns(
        pl.Series("country", [f"c{code}" for code in country]),
        pl.Series("agent", [None if code == 5 else f"a{code}" for code in agent]),
        pl.Series("deposit", [f"d{code}" for code in deposit]),
        *(pl.Series(f"noise_cat_{n}", [f"v{code}" for code in draw.integers(0, 5 * 4**n, rows)]) for n in range(4)),
    )
    return Table("hotel-like", "binary", frame, target.astype(np.int64), random_split(rows))


def clinical(rows: int = 12_000, seed: int = 11) -> Table:
    """Admissions: 700 diagnosis codes, sparse medication flags, nulls, 11 % readmitted, weak signal."""
    draw = np.random.default_rng(seed)
    diagnosis = [np.minimum(draw.zipf(1.3, rows) - 1, 700) for _ in range(3)]
    inpatient, emergency = draw.poisson(0.6, rows), draw.poisson(0.2, rows)
    stay, labs = draw.integers(1, 15, rows), draw.normal(43, 20, rows).clip(1)
    drugs = draw.random((rows, 22)) < draw.beta(0.5, 4, 22)
    age = draw.choice(10, rows, p=np.array([1, 2, 3, 8, 15, 20, 22, 17, 9, 3]) / 100)
    signal = 0.35 * inpatient + 0.3 * emergency + 0.02 * stay + 0.05 * age + 0.3 * drugs[:, 0] - 0.3 * drugs[:, 1]
    signal = signal + sum(draw.normal(0, 0.3, 701)[code] for code in diagnosis)
    target = draw.random(rows) < 1 / (1 + np.exp(-(signal - 3.1)))
    labs[draw.random(rows) < 0.3] = np.nan
    columns = {"inpatient": inpatient, "emergency": emergency, "stay": stay, "labs": labs, "age": age}
    columns |= {f"drug_{n}": drugs[:, n] for n in range(22)}
    columns |= {f"lab_{n}": np.where(draw.random(rows) < 0.5, np.nan, draw.gamma(2, 10, rows)) for n in range(15)}
    frame = pl.DataFrame({name: values.astype(np.float64) for name, values in columns.items()}).with_columns(
        pl.Series(f"diagnosis_{n}", [f"icd{value}" for value in code]) for n, code in enumerate(diagnosis)
    )
    return Table("clinical", "binary", frame, target.astype(np.int64), random_split(rows))


def prices(rows: int = 20_000, seed: int = 5) -> Table:
    """Regression with a heavy-tailed target: nightly prices from place, size, season and their interactions."""
    draw = np.random.default_rng(seed)
    place, size, season = draw.integers(0, 300, rows), draw.gamma(3, 25, rows), draw.integers(0, 12, rows)
    rating, distance = draw.beta(8, 2, rows) * 10, draw.exponential(4, rows)
    level = (
        3.5
        + draw.normal(0, 0.3, 300)[place]
        + 0.4 * np.log(size)
        + 0.15 * np.sin(season / 6 * np.pi) * (place % 3 == 0)
    )
    level += 0.08 * np.maximum(rating - 7, 0) ** 1.5 - 0.1 * np.sqrt(distance) + draw.normal(0, 0.15, rows)
    columns = {"size": size, "season": season, "rating": rating, "distance": distance}
    columns |= {f"noise_{n}": draw.standard_t(2, rows) for n in range(30)}
    frame = pl.DataFrame({name: values.astype(np.float64) for name, values in columns.items()}).with_columns(
        pl.Series("place", [f"p{value}" for value in place])
    )
    return Table("prices", "regression", frame, np.exp(level), random_split(rows))


def wide(rows: int = 4_000, columns: int = 2_000, seed: int = 3) -> Table:
    """A very wide table: 15 linear and 3 interacting signals among 2,000 columns."""
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(rows, columns))
    signal = values[:, :15] @ np.linspace(1, 0.3, 15) + values[:, 15] * values[:, 16] + np.abs(values[:, 17])
    target = draw.random(rows) < 1 / (1 + np.exp(-(signal - 0.8)))
    frame = pl.DataFrame(values, schema=[f"x{n}" for n in range(columns)], orient="row")
    return Table("wide", "binary", frame, target.astype(np.int64), random_split(rows))


def small(rows: int = 500, seed: int = 1) -> Table:
    """500 rows, 20 columns, few categories: easily overfitted by a network."""
    draw = np.random.default_rng(seed)
    values, code = draw.standard_t(3, (rows, 18)), draw.integers(0, 5, rows)
    signal = values[:, 0] - values[:, 1] + 0.5 * (values[:, 2] > 0) + draw.normal(0, 1, 5)[code]
    target = draw.random(rows) < 1 / (1 + np.exp(-signal))
    frame = pl.DataFrame(values, schema=[f"x{n}" for n in range(18)], orient="row").with_columns(
        pl.Series("code", [f"c{value}" for value in code])
    )
    return Table("small", "binary", frame, target.astype(np.int64), random_split(rows))


TABLES: dict[str, Callable[[], Table]] = {
    "santander": santander,
    "criteo-10k": criteo,
    "ml-100k": movielens,
    "demo": demo,
    "madelon": madelon,
    "isolet": isolet,
    **{name: (lambda name=name: bundled(name)) for name in ("breast_cancer", "digits", "diabetes")},
    "hotel-like": hotel,
    "clinical": clinical,
    "prices": prices,
    "wide": wide,
    "small": small,
}
