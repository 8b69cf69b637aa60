"""The contract of a training job of a team's own: what it is asked, and what it gives back.

A Python function is named as ``trainer: package.module:train`` and called as ``train(task) -> Predictions``. A program
in any language is named as ``command: "python train.py --task {task}"``: it reads ``task.json``, which holds the fields
of ``TrainingTask``, and writes ``predictions.parquet`` into ``output``. Whoever does either is called once for the full
model and once for every pruned one; nothing else differs between these calls but ``features``, the columns of the three
files, ``seed`` and ``output``. ``docs/how-to/own-trainer.md`` has an example of each.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from feature_audit.schema import Task

#: What a job writes into ``output``, and the folder in it of an MLflow model that is registered on a pass.
PREDICTIONS, MODEL = "predictions.parquet", "model"


@dataclass(frozen=True)
class TrainingTask:
    """One training that is asked for.

    Attributes:
        features: raw columns that the model may read, in the log's order; the files hold no other feature.
        task: ``binary``, ``regression`` or ``multiclass``.
        n_classes: classes of ``multiclass``; 2 otherwise.
        label: column of the train and validation files: 0 or 1, a number, or a class from 0. The test file has none.
        row: int64 column that numbers the rows; ``predictions.parquet`` names rows by it.
        time, group: columns of the log that are no features, for the order of rows and for losses within a user; None
            where the configuration names none.
        weight: column of the train and validation files with what a row counts as, for losses; None = all alike.
        train, validation, test: Parquet files, rows in the log's order, cells as the log has them.
        output: an empty folder for whatever the job writes.
        seed: of initial weights, order of rows and all else that is random; every training has another one.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        threads: CPU threads to use; 0 = the job's own choice.
    """

    features: tuple[str, ...]
    task: Task
    n_classes: int
    label: str
    row: str
    time: str | None
    group: str | None
    weight: str | None
    train: Path
    validation: Path
    test: Path
    output: Path
    seed: int
    device: str
    threads: int

    def save(self, path: Path) -> None:
        """Write the task as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1, default=str, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path | str) -> TrainingTask:
        """The task in a ``task.json``."""
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        content |= {one.name: Path(content[one.name]) for one in fields(cls) if one.type == "Path"}
        return cls(**content | {"features": tuple(content["features"])})


@dataclass(frozen=True)
class Predictions:
    """Scores of the trained model, in the order of the rows of the validation and test files.

    Attributes:
        validation, test: (rows,) probabilities of class 1 (binary) or values in target units (regression); (rows, C)
            probabilities (multiclass). Arrays, tensors on the CPU or lists.
    """

    validation: Any
    test: Any
