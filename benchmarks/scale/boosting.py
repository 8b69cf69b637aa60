"""Cost and quality of the boosting reference: additional memory, seconds, validation AUC.

    PYTHONPATH=pipeline:selectors python benchmarks/scale/boosting.py                   # quality, then two large tables
    PYTHONPATH=pipeline:selectors python benchmarks/scale/boosting.py --table 100000x5500 --table 10000000x1000
    PYTHONPATH=pipeline:selectors python benchmarks/scale/boosting.py --quality --csv FILE

Every line is a separate process. `whole` is the earlier implementation: every train row becomes part of a matrix, which
is then sampled, and codes are always categories. `now` is `feature_audit.models.boosting_scores`. A large table is
simulated: 80 stored columns, of which 10 numbers and 5 categories are signals, are repeated as often as needed, so that
10 million rows x 1,000 columns take 3 GB on disk; they are read as if all existed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from feature_audit.data import Store
from feature_audit.models import boosting_scores
from feature_audit.schema import Field, ModelSchema
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

LINES, SIGNALS, CODED_SIGNALS = 40, 10, 5
LIMIT = 16 << 30
#: Name -> rows, columns, share of them that are categories, codes of a category.
QUALITY = {
    "numbers": (20_000, 300, 0.0, 0),
    "noise categories": (8_000, 1_000, 0.9, 200),
    "few noise categories": (20_000, 300, 0.2, 50),
    "wide, rare categories": (20_000, 2_000, 0.9, 2_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="append", help="ROWSxCOLUMNS of train rows; 3/20 as many are scored")
    parser.add_argument("--quality", action="store_true", help="the small tables instead")
    parser.add_argument("--folder", help="where tables are written; default: a temporary one")
    csv_option(parser)
    parser.add_argument("--one", nargs=2, metavar=("STORE", "HOW"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(Path(given.one[0]), given.one[1])))
        return
    names = given.table or ([] if given.quality else ["100000x5500", "10000000x1000"])
    shapes = {name: (*map(int, name.split("x")), 0.5, 5_000) for name in names}
    if given.quality or not given.table:
        shapes = {**QUALITY, **shapes}
    shown = Table(["table", "rows x columns", "how", "AUC", "s", "GB beyond the process"], given.csv)
    for name, shape in shapes.items():
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            write(Path(folder), *shape)
            for how in ("whole", "now"):
                found = measured_apart(folder, how)
                if "failed" in found:
                    cells = ["-", "-", found["failed"]]
                else:
                    cells = [f"{found['auc']:.4f}", f"{found['seconds']:.0f}", f"{found['gigabytes']:.2f}"]
                about = {"table": name, "rows": shape[0], "columns": shape[1], "how": how}
                figures = {key: found.get(key, "") for key in ("auc", "seconds", "gigabytes", "failed")}
                shown.add([name, f"{shape[0]:,} x {shape[1]:,}", how, *cells], {**about, **figures})


def measured_apart(folder: str, how: str) -> dict[str, Any]:
    """What ``measure`` returns in a separate process, or why it failed."""
    done = subprocess.run([sys.executable, __file__, "--one", folder, how], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["killed"])[-1]
        return {"failed": f"more than {LIMIT >> 30}: {said}"}
    return dict(json.loads(done.stdout))


def write(folder: Path, rows: int, columns: int, coded: float, codes: int) -> None:
    """Write a store of numbers and categories, of which the first ones determine the label."""
    n_codes = round(columns * coded)
    fields = [Field(f"n{place}", "numeric", 49) for place in range(columns - n_codes)]
    fields += [Field(f"c{place}", "code", codes + 2) for place in range(n_codes)]
    places = {f"n{place}": ("numeric", place % LINES, "float32") for place in range(columns - n_codes)}
    places |= {f"c{place}": ("codes_uint16", place % LINES, "uint16") for place in range(n_codes)}
    counts = {"train": rows, "validation": rows * 3 // 20, "test": 0}
    if columns <= max(shape[1] for shape in QUALITY.values()):  # real columns, else noise could not mislead the model
        places = {name: (file, int(name[1:]), kind) for name, (file, _, kind) in places.items()}
    draw = np.random.default_rng(0)
    worth = draw.normal(size=codes + 2)  # codes of each category
    for split, number in counts.items():
        (folder / split).mkdir()
        logit = np.zeros(number, np.float32)
        for file, kind in (("numeric", np.float32), ("codes_uint16", np.uint16)):
            lines = 1 + max((line for name, line, _ in places.values() if name == file), default=-1)
            with (folder / split / f"{file}.bin").open("wb") as out:
                for place in range(lines):
                    cells = draw.random(number, np.float32)
                    if kind is np.float32:
                        logit += (cells - 0.5) * 1.5 * (place < SIGNALS)
                        (1 + 47 * cells).astype(kind).tofile(out)
                    else:
                        code = (2 + codes * cells**2).astype(kind)  # low codes are frequent
                        if place < CODED_SIGNALS:
                            logit += 0.4 * worth[code].astype(np.float32)
                        code.tofile(out)
        label = draw.random(number, np.float32) < 1 / (1 + np.exp(-logit))
        np.save(folder / split / "target.npy", label.astype(np.float32))
    layout = {"fields": [vars(field) for field in fields], "task": "binary", "n_classes": 2, "rows": counts}
    (folder / "layout.json").write_text(json.dumps({**layout, "places": places, "slices": {}}), encoding="utf-8")


def measure(folder: Path, how: str) -> dict[str, float]:
    if how == "whole":
        resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    torch.set_num_threads(1)
    store = Store.open(folder)
    process = psutil.Process()
    before = highest = process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.02):
            highest = max(highest, process.memory_info().rss)

    threading.Thread(target=watch, daemon=True).start()
    started = time.perf_counter()
    scores = boosting_scores(store, store.schema) if how == "now" else whole(store, store.schema)
    seconds = time.perf_counter() - started
    done.set()
    auc = roc_auc_score(store.target("validation"), scores)
    return {"auc": auc, "seconds": seconds, "gigabytes": (highest - before) / 1e9}


def whole(store: Store, schema: ModelSchema) -> np.ndarray:
    """The implementation up to November 2026."""
    train, validation, target = store.matrix("train"), store.matrix("validation"), store.target("train")
    categorical = np.array([field.form == "code" for field in schema.fields])
    if len(train) > 100_000:
        chosen = np.sort(np.random.default_rng(0).choice(len(train), 100_000, replace=False))
        train, target = train[chosen], target[chosen]
    if train.shape[1] > 2_000:
        ranks = np.nan_to_num(train.astype(np.float64)).argsort(axis=0).argsort(axis=0)
        centred = ranks - ranks.mean(axis=0)
        label = np.asarray(target, np.float64) - np.mean(np.asarray(target, np.float64))
        strength = np.abs(centred.T @ label) / (np.sqrt((centred**2).sum(axis=0)) + 1e-12)
        columns = np.sort(np.argsort(-strength, kind="stable")[:2_000])
        train, validation, categorical = train[:, columns], validation[:, columns], categorical[columns]
    for values in (train, validation):
        values[:, categorical] = np.minimum(values[:, categorical], 253)
    model = HistGradientBoostingClassifier(
        learning_rate=0.06, max_iter=300, max_leaf_nodes=15, max_features=0.5, min_samples_leaf=20,
        l2_regularization=1.0, early_stopping=True, validation_fraction=0.15, n_iter_no_change=15, random_state=0,
        categorical_features=categorical if categorical.any() else None,
    )  # fmt: skip
    return model.fit(train, target).predict_proba(validation)[:, 1]


if __name__ == "__main__":
    main()
