"""Tables of the benchmark: coded fields of three splits, with the K of each."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from concrete_selectors.baselines import Matrix

from arena.encode import Columns, encode_frame, encode_matrix

#: Number of rows, in time order -> row numbers of train, validation and test.
TimeSplit = Callable[[int], list[np.ndarray]]
DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


class TableAbsent(Exception):
    """A table cannot be created here; the message contains the reason."""


@dataclass(frozen=True)
class Table:
    """Coded fields of three splits.

    Attributes:
        name: name of the table.
        x_train, x_valid, x_test: int64 (rows, N) codes.
        y_train, y_valid, y_test: float32 0 / 1 labels, or int64 classes if there are more than two.
        cardinalities: (N,) number of codes of each field.
        signal: known truth, or None: the group of each field, -1 = noise, -2 = neither.
        sides: field -> float32 (codes, width), the fixed vectors that codes represent.
        classes: number of classes, at least 2.
        categorical: (N,) bool, fields whose codes are categories rather than bins of a number; None = no field.
        missing: (N,) code of a number's missing values, -1 = none; None = no field has any.
        widths: (N,) width of each field's embedding in a net; None = the net's default for all.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_valid: np.ndarray
    y_valid: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    cardinalities: np.ndarray
    signal: np.ndarray | None = None
    sides: dict[int, np.ndarray] = field(default_factory=dict)
    classes: int = 2
    categorical: np.ndarray | None = None
    missing: np.ndarray | None = None
    widths: np.ndarray | None = None

    @property
    def n_fields(self) -> int:
        return len(self.cardinalities)

    def matrix(self) -> Matrix:
        """Train and validation rows for rankers of the table: vectors and lists as columns, NaN for missing values."""
        categorical = np.zeros(self.n_fields, dtype=bool) if self.categorical is None else self.categorical
        missing = np.full(self.n_fields, -1) if self.missing is None else self.missing
        owners = [[number] * self._width(number) for number in range(self.n_fields)]
        owner = np.concatenate(owners)
        x, x_validation = (self._columns(rows, missing) for rows in (self.x_train, self.x_valid))
        return Matrix(x, self.y_train, categorical[owner], owner, x_validation, self.y_valid)

    def _width(self, number: int) -> int:
        return self.sides[number].shape[1] if number in self.sides else 1

    def _columns(self, rows: np.ndarray, missing: np.ndarray) -> np.ndarray:
        parts = []
        for number in range(self.n_fields):
            codes = rows[:, number]
            if number in self.sides:
                parts.append(self.sides[number][codes].astype(np.float64))
            else:
                parts.append(np.where(codes == missing[number], np.nan, codes)[:, None])
        return np.concatenate(parts, axis=1)


def random_splits(rows: int, *, seed: int) -> list[np.ndarray]:
    """60 / 15 / 25 at random."""
    return _cut(np.random.default_rng(seed).permutation(rows))


def ordered_splits(rows: int) -> list[np.ndarray]:
    """60 / 15 / 25 in the order of the rows, which is time."""
    return _cut(np.arange(rows))


def drawn_validation(rows: int, *, seed: int) -> list[np.ndarray]:
    """The last 25 % for test, as in ``ordered_splits``; validation rows are drawn at random from those before."""
    train, validation, test = ordered_splits(rows)
    before = np.random.default_rng(seed).permutation(len(train) + len(validation))
    return [np.sort(before[: len(train)]), np.sort(before[len(train) :]), test]


def _cut(order: np.ndarray) -> list[np.ndarray]:
    return np.split(order, [int(0.6 * len(order)), int(0.75 * len(order))])


def make_table(
    name: str, columns: Columns, y: np.ndarray, splits: list[np.ndarray], *, signal: np.ndarray | None = None
) -> Table:
    """Build a table from its splits, without fields that are constant or equal another field in train."""
    codes, sizes = np.stack(columns.codes, axis=1), np.array(columns.sizes)
    train = codes[splits[0]]
    seen: set[bytes] = set()
    keep = []
    for number in range(codes.shape[1]):
        values = np.ascontiguousarray(train[:, number])
        if (values == values[0]).all():
            continue
        key = b"" if number in columns.sides else values.tobytes()
        if not key or key not in seen:
            keep.append(number)
        seen.add(key)
    y = np.asarray(y)
    classes = max(2, int(y.max()) + 1)
    y = y.astype(np.float32) if classes == 2 else y.astype(np.int64)
    parts = [v for split in splits for v in (codes[split][:, keep], y[split])]
    sides = {new: columns.sides[old] for new, old in enumerate(keep) if old in columns.sides}
    signal = None if signal is None else signal[keep]
    categorical, missing = np.array(columns.categorical)[keep], np.array(columns.missing)[keep]
    return Table(
        name, *parts, cardinalities=sizes[keep], signal=signal, sides=sides, classes=classes, categorical=categorical,
        missing=missing,
    )  # fmt: skip


def _file(path: str) -> Path:
    if not (DATA / path).exists():
        raise TableAbsent(f"no file {path} below shared/data")
    return DATA / path


def _rows(count: int, most: int | None, seed: int = 0) -> np.ndarray:
    """A random sample of at most ``most`` rows, in their order."""
    if most is None or count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])


def santander(most: int | None = None, *, split: int = 0) -> Table:
    """Santander Customer Satisfaction, 4 % positives."""
    import polars as pl

    frame = pl.read_parquet(_file("santander/train.parquet"))
    rows = _rows(len(frame), most)
    x = frame.drop("ID", "TARGET").to_numpy().astype(np.float64)[rows]
    splits = random_splits(len(rows), seed=split)
    return make_table("santander", encode_matrix(x, splits[0]), frame["TARGET"].to_numpy()[rows], splits)


def criteo(most: int | None = None, *, in_time: TimeSplit = ordered_splits) -> Table:
    """Criteo display advertising, 10,000 rows in file order: 13 numbers, 26 hashed strings."""
    import polars as pl

    names = ["label", *(f"i{n}" for n in range(13)), *(f"c{n}" for n in range(26))]
    types = {name: pl.String if name.startswith("c") else pl.Float64 for name in names}
    with gzip.open(_file("criteo-10k/train_examples.txt.gz")) as file:
        frame = pl.read_csv(file.read(), separator="\t", has_header=False, new_columns=names, schema_overrides=types)
    frame = frame.tail(most or len(frame))
    splits = in_time(len(frame))
    columns = encode_frame(frame.drop("label"), splits[0])
    return make_table("criteo-10k", columns, frame["label"].to_numpy(), splits)


def movielens(most: int | None = None, *, in_time: TimeSplit = ordered_splits) -> Table:
    """MovieLens-100k in time order, with features of the past only; ratings of 4 and 5 are positive."""
    path = _file("ml-100k/ml-100k.inter")
    try:
        from feature_audit.datasets import movielens as features
    except ImportError as error:
        raise TableAbsent(f"its builder needs {error.name}") from None
    frame = features.build(str(path)).collect()
    frame = frame.tail(most or len(frame))
    splits = in_time(len(frame))
    columns = encode_frame(frame.drop("rating", "timestamp"), splits[0])
    return make_table("ml-100k", columns, (frame["rating"] >= 4).to_numpy(), splits)


def mnist(most: int | None = None, *, split: int = 0) -> Table:
    """The 10,000 official test images of MNIST."""
    import polars as pl

    frame = pl.read_parquet(_file("mnist-test/mnist-test.parquet")).head(most or 10_000)
    splits = random_splits(len(frame), seed=split)
    x = frame.drop("label").to_numpy().astype(np.float64)
    return make_table("mnist-test", encode_matrix(x, splits[0], bins=8), frame["label"].to_numpy(), splits)


def _mat(name: str, file: str, bins: int, split: int) -> Callable[[int | None], Table]:
    def build(most: int | None = None) -> Table:
        from scipy.io import loadmat

        content = loadmat(_file(f"highdim/{file}.mat"))
        y = np.unique(content["Y"].ravel(), return_inverse=True)[1]
        rows = _rows(len(y), most)
        splits = random_splits(len(rows), seed=split)
        columns = encode_matrix(content["X"].astype(np.float64)[rows], splits[0], bins=bins)
        return make_table(name, columns, y[rows], splits)

    return build


def _bundled(name: str, split: int) -> Callable[[int | None], Table]:
    def build(most: int | None = None) -> Table:
        from sklearn import datasets

        content = getattr(datasets, f"load_{name}")()
        splits = random_splits(len(content.target), seed=split)
        return make_table(name, encode_matrix(content.data, splits[0], bins=8), content.target, splits)

    return build


@dataclass(frozen=True)
class Entry:
    """How a table is built and evaluated.

    Attributes:
        build: builds it from at most the given number of rows (None = all).
        ks: requested K.
        batch: rows per training step, for every net and selector.
        epochs: maximum number of epochs of a net.
        patience: epochs without a lower validation loss after which a training ends.
        repeats: factor for the budget's number of nets per kept set, if test rows are few and nets are cheap.
    """

    build: Callable[[int | None], Table]
    ks: tuple[int, ...]
    batch: int = 256
    epochs: int = 12
    patience: int = 2
    repeats: int = 1


def registry(split: int = 0, in_time: TimeSplit = ordered_splits) -> dict[str, Entry]:
    """All tables by name.

    Args:
        split: seed of the random splits of real tables.
        in_time: splits the rows of real tables that have a time.
    """
    from arena import simulated

    small = {"batch": 32, "epochs": 60, "patience": 6, "repeats": 2}
    narrow = small | {"batch": 64}
    return {
        "santander": Entry(partial(santander, split=split), (5, 10, 20, 40), batch=512),
        "ml-100k": Entry(partial(movielens, in_time=in_time), (5, 10, 20, 40), batch=512),
        "criteo-10k": Entry(partial(criteo, in_time=in_time), (3, 5, 10, 20), batch=128, repeats=2),
        "demo": Entry(simulated.demo, (10, 20, 45, 68), batch=512),
        "planted-0": Entry(lambda most: simulated.planted(0, most), (5, 10, 20, 30, 40)),
        "planted-1": Entry(lambda most: simulated.planted(1, most), (5, 10, 20, 30, 40)),
        "leaky": Entry(simulated.leaky, (5, 10, 20, 30, 40)),
        "widths": Entry(simulated.widths, (5, 10, 20, 30, 40)),
        "rare": Entry(simulated.rare, (6, 12, 18, 24, 36)),
        "isolet": Entry(_mat("isolet", "Isolet", 8, split), (10, 25, 50), **narrow),
        "madelon": Entry(_mat("madelon", "madelon", 8, split), (5, 10, 20, 40), **narrow),
        "mnist-test": Entry(partial(mnist, split=split), (10, 25, 50), batch=128, epochs=20, patience=3),
        "breast_cancer": Entry(_bundled("breast_cancer", split), (3, 5, 8), **small),
        "digits": Entry(_bundled("digits", split), (5, 10, 20), **narrow),
        "wine": Entry(_bundled("wine", split), (3, 5, 8), **small),
    }
