"""Simulated tables with known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from arena.encode import encode_frame, encode_matrix
from arena.tables import Table, TableAbsent, make_table, ordered_splits, random_splits

NOISE, NEITHER = -1, -2
#: Common and rare signals of the table ``rare``.
_COMMON, _RARE = 6, 12


def planted(
    number: int, most: int | None = None, *, rows: int = 40_000, signals: int = 20, copies: int = 3, noise: int = 180
) -> Table:
    """Signals with noisy copies among noise; ``signal`` is the group of each field, -1 for noise."""
    random = np.random.default_rng(1000 + number)
    z = random.normal(size=(rows, signals))
    weight = np.exp(random.uniform(np.log(0.3), np.log(1.8), size=signals)) * random.choice([-1, 1], size=signals)
    score = (z[:, : signals // 2] * weight[: signals // 2]).sum(axis=1)
    for j in range(signals // 2, signals, 2):
        score += weight[j] * (0.6 * z[:, j] + 0.6 * z[:, j + 1] + 0.7 * z[:, j] * z[:, j + 1])
    y = random.random(rows) < 1 / (1 + np.exp(-score + np.median(score)))
    columns, truth = [z], list(range(signals))
    for _ in range(copies):
        columns.append(z + 0.4 * random.normal(size=z.shape))
        truth += list(range(signals))
    columns.append(random.normal(size=(rows, noise)))
    truth += [NOISE] * noise
    x = np.concatenate(columns, axis=1)
    order = random.permutation(x.shape[1])
    used = slice(None, most)
    splits = random_splits(len(y[used]), seed=number)
    codes = encode_matrix(x[used][:, order], splits[0])
    return make_table(f"planted-{number}", codes, y[used], splits, signal=np.array(truth)[order])


def leaky(most: int | None = None, *, ids: int = 12, cardinality: int = 3000) -> Table:
    """The first planted table plus uninformative ids of high cardinality, which embeddings can memorise."""
    table = planted(0, most)
    random = np.random.default_rng(5)

    def wider(x: np.ndarray) -> np.ndarray:
        return np.concatenate([x, random.integers(0, cardinality, size=(len(x), ids))], axis=1)

    return replace(
        table,
        name="leaky",
        x_train=wider(table.x_train),
        x_valid=wider(table.x_valid),
        x_test=wider(table.x_test),
        cardinalities=np.concatenate([table.cardinalities, np.full(ids, cardinality)]),
        signal=np.concatenate([table.signal, np.full(ids, NOISE)]),
        categorical=np.concatenate([table.categorical, np.full(ids, True)]),
        missing=np.concatenate([table.missing, np.full(ids, -1)]),
    )


def widths(most: int | None = None) -> Table:
    """The first planted table, its embeddings 1 to 256 numbers wide at random: signals, copies and noise alike."""
    table = planted(0, most)
    drawn = np.random.default_rng(6).integers(0, 9, size=table.n_fields)
    return replace(table, name="widths", widths=2**drawn)


def rare(most: int | None = None, *, number: int = 0, rows: int = 60_000) -> Table:
    """Six common signals, twelve rare ones that together add about .01 AUC, and 80 noise fields.

    A rare field is a flag or an amount that is 0 except on 0.3 % of the rows; so are 60 of the noise fields. Every
    signal is a separate group: 0 to 5 the common ones, 6 to 17 the rare ones.
    """
    random = np.random.default_rng(3000 + number)
    common = random.normal(size=(rows, _COMMON + 20))
    active = random.random((rows, _RARE + 60)) < 0.003
    is_amount = np.arange(active.shape[1]) % 2 == 1
    seldom = active * np.where(is_amount, random.lognormal(0, 0.5, active.shape), 1.0)
    weight = np.where(np.arange(_RARE) // 2 % 2 == 0, 1.8, -1.8)
    score = common[:, :_COMMON] @ [0.7, -0.6, 0.5, -0.4, 0.35, 0.3] + seldom[:, :_RARE] @ weight
    y = random.random(rows) < 1 / (1 + np.exp(-score))
    signals = [common[:, :_COMMON], seldom[:, :_RARE]]
    x = np.concatenate([*signals, common[:, _COMMON:], seldom[:, _RARE:]], axis=1)
    order, truth = random.permutation(x.shape[1]), np.full(x.shape[1], NOISE)
    truth[: _COMMON + _RARE] = np.arange(_COMMON + _RARE)
    used = slice(None, most)
    splits = random_splits(len(y[used]), seed=number)
    codes = encode_matrix(x[used][:, order], splits[0])
    return make_table("rare", codes, y[used], splits, signal=truth[order])


def demo(most: int | None = None, *, seed: int = 0) -> Table:
    """The simulated recommender log of the pipeline in time order, without constants, duplicates and leaks."""
    try:
        from feature_audit.datasets.demo import make_demo
    except ImportError as error:
        raise TableAbsent(f"its maker needs {error.name}") from None
    frame, truth = make_demo(seed)
    frame = frame.tail(most or len(frame))
    names = [name for name in frame.columns if name in truth.columns and truth.columns[name].role in _USED]
    groups = {group: number for number, group in enumerate(truth.groups)}
    signal = [groups.get(str(truth.columns[name].group), _USED[truth.columns[name].role]) for name in names]
    splits = ordered_splits(len(frame))
    columns = encode_frame(frame.select(names), splits[0])
    return make_table("demo", columns, frame["clicked"].to_numpy(), splits, signal=np.array(signal))


#: Roles of the demo columns that selectors get -> their group if they have no signal group.
_USED = {"signal": NEITHER, "copy": NEITHER, "key": NEITHER, "noise": NOISE}
