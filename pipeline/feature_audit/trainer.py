"""The contract of an external training job: its input and its output.

A Python function is given as ``trainer: package.module:train`` and called as ``train(task) -> Predictions``. A program
in any language is given as ``command: "python train.py --task {task}"``: it reads ``task.json``, which contains the
fields of ``TrainingTask``, and writes ``predictions.parquet`` into ``output``. The job is called once for each training
of the full and the pruned models; these calls differ only in ``features``, the columns of the three files, ``seed`` and
``output``. ``docs/how-to/own-trainer.md`` has an example of each.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from feature_audit.schema import Task

#: File of predictions and folder of an MLflow model (registered on a pass) that a job writes into ``output``.
PREDICTIONS, MODEL = "predictions.parquet", "model"


@dataclass(frozen=True)
class TrainingTask:
    """One requested training.

    Attributes:
        features: raw columns that the model may read, in the order of the log; the files contain no other features.
        task: ``binary``, ``regression`` or ``multiclass``.
        n_classes: classes of ``multiclass``; 2 otherwise.
        label: column of the train and validation files: 0 or 1, a number, or a class from 0. The test file has none.
        row: int64 column with the row number, which identifies rows in ``predictions.parquet``.
        time, group: columns that are not features, for the order of rows and for losses within a user; None if the
            configuration does not set them.
        weight: column of the train and validation files with row weights, for losses; None = equal weights.
        train, validation, test: Parquet files with the rows in the order of the log and raw cells.
        output: an empty folder for the output of the job.
        seed: seed of initial weights, order of rows and all other randomness; it differs between trainings.
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
