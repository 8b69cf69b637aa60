"""Quality of two labels that are learned together, by the weight of each: the table of docs/how-to/second-label.md.

    PYTHONPATH=pipeline:selectors python benchmarks/baseline/target_weights.py [--ids 4] [--seeds 3] [--csv FILE]

A simulated log of 34 numeric columns: twelve decide clicks, twelve others and four of these decide whether a click
converts, ten are noise; with ``--ids``, so many of the ten are ids of 2,000 values, each with an effect on clicks. One
row in ten is a click, and one click in seven converts. Conversions are learned in two forms: 0 for rows without a
click, or empty. If the best constant of a target loses h nats per row, its loss is divided by h to the power of 0
(joint likelihood), 1/2 (what audits do, see ``unit_of``) or 1 (equal parts). Each label is also trained alone. Model
``mlp``, default training; test AUC, of conversions on the rows that have a label, as the mean over seeds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from feature_audit.config import AuditConfig
from feature_audit.data import Store
from feature_audit.data.prepare import prepare
from feature_audit.models import build_model, predict, train
from feature_audit.schema import ModelSchema
from sklearn.metrics import roc_auc_score

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

CLICK, CONVERT, COLUMNS = slice(0, 12), slice(8, 24), 34
POWERS = {"joint likelihood (unit 1)": 0.0, "unit sqrt(h)": 0.5, "equal parts (unit h)": 1.0}
VALUES = 2_000
FORMS = ("0 without a click", "empty without a click")


def log_of(rows: int, ids: int) -> pl.DataFrame:
    """Columns, ``click``, and ``convert`` in both forms."""
    rng, of_ids = np.random.default_rng(0), np.random.default_rng(1)
    x = rng.standard_normal((rows, COLUMNS), dtype=np.float32)
    codes = of_ids.integers(0, VALUES, (ids, rows))
    effect = sum((of_ids.normal(0, 0.5, VALUES)[code] for code in codes), np.zeros(rows))

    def drawn(columns: slice, start: float, more: np.ndarray | float) -> np.ndarray:
        logit = x[:, columns] @ rng.normal(0, 0.35, x[:, columns].shape[1]) + start + more
        return np.asarray(rng.random(rows) < 1 / (1 + np.exp(-logit)))

    click, convert = drawn(CLICK, -2.7, effect), drawn(CONVERT, -2.5, 0.0)
    frame = pl.DataFrame({f"x{place}": x[:, place] for place in range(COLUMNS)})
    last = reversed(frame.columns)
    frame = frame.with_columns(pl.Series(name, code).cast(pl.String) for name, code in zip(last, codes, strict=False))
    zeros, empty = (click & convert).astype(float), np.where(click, convert, np.nan)
    return frame.with_columns(
        click=click.astype(int), **dict(zip(FORMS, (pl.Series(zeros), pl.Series(empty).fill_nan(None)), strict=True))
    )


def stores(frame: pl.DataFrame, folder: Path) -> Iterator[tuple[str, list[str], Store, ModelSchema]]:
    """Form of the conversions, targets, store and schema: both labels, and each label alone."""
    for form in FORMS:
        frame.select(pl.exclude(FORMS), convert=form).write_parquet(folder / "log.parquet")
        for targets in (["click", "convert"], ["click"], ["convert"]):
            others = [name for name in ("click", "convert") if name not in targets]
            if others and form == FORMS[1]:
                continue  # clicks are as in the other form, and a decision target needs a label in every row
            settings = {"targets": targets, "exclude": others, "data": str(folder / "log.parquet")}
            prepared = prepare(AuditConfig.model_validate(settings), folder / "store")
            yield form, targets, Store.open(folder / "store"), prepared.schema


def aucs(store: Store, schema: ModelSchema, seed: int) -> list[float]:
    """Test AUC of each target after one training."""
    config = AuditConfig(data="", target="click").training
    model = build_model("mlp", schema, embedding_dim=config.embedding_dim, params={}, seed=seed)
    train(model, store, schema, config=config, task="binary", seed=seed, device="cpu")
    scores = predict(model, store, "test", schema, task="binary", device="cpu").reshape(store.rows("test"), -1)
    labels = store.targets("test").reshape(scores.shape)
    held = ~np.isnan(labels)
    return [
        float(roc_auc_score(labels[held[:, place], place], scores[held[:, place], place]))
        for place in range(scores.shape[1])
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--ids", type=int, default=0, help="columns of 2,000 values, at most 10")
    parser.add_argument("--seeds", type=int, default=3)
    csv_option(parser)
    given = parser.parse_args()
    torch.set_num_threads(1)
    frame = log_of(given.rows, given.ids)
    shares = frame["click"].mean(), frame[FORMS[1]].mean()
    print("{:.1%} clicks, of which {:.1%} convert\n".format(*shares))
    shown = Table(["conversion", "weight of a target", "AUC of click", "AUC of convert"], given.csv)
    with tempfile.TemporaryDirectory() as folder:
        for form, targets, store, schema in stores(frame, Path(folder)):
            for weight, power in POWERS.items() if schema.outputs else [("alone", 0.5)]:
                outputs = tuple(replace(one, unit=one.unit ** (2 * power)) for one in schema.outputs)
                found = [aucs(store, replace(schema, outputs=outputs), seed) for seed in range(given.seeds)]
                means = dict(zip(targets, np.mean(found, axis=0), strict=True))
                shown.add(
                    [form, weight, *(f"{means[name]:.3f}" if name in means else "" for name in ("click", "convert"))],
                    *(
                        {"conversion": form, "weight": weight, "seed": seed, "target": name, "test_auc": value}
                        for seed, values in enumerate(found)
                        for name, value in zip(targets, values, strict=True)
                    ),
                )


if __name__ == "__main__":
    main()
