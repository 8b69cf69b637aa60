"""An external training job, a Python function or a command: run once; its scores are validated before use."""

from __future__ import annotations

import hashlib
import inspect
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store, read_scores, write_raw_splits
from feature_audit.engine import job_threads
from feature_audit.errors import AuditError, UsageError
from feature_audit.importing import import_function
from feature_audit.models import own_code_digest, resolve_device
from feature_audit.schema import ModelSchema, SplitName
from feature_audit.trainer import MODEL, PREDICTIONS, Predictions, TrainingTask

#: Placeholder for the task's path in a command.
_TASK = "{task}"
_SCORED: tuple[SplitName, ...] = ("validation", "test")
#: Length of a command's last output in an error message.
_LAST_WORDS = 300


@dataclass(frozen=True)
class JobResult:
    """Result of a job.

    Attributes:
        scores: float32 scores of the validation and test rows, in the store's order, in the form of ``models.predict``.
        seconds: wall time of only the job.
        model: folder of an MLflow model that it saved, or None.
    """

    scores: dict[SplitName, np.ndarray]
    seconds: float
    model: Path | None


def has_own_training(config: AuditConfig) -> bool:
    """Whether an external job trains the models."""
    return bool(config.trainer or config.command)


def check_own_training(config: AuditConfig) -> None:
    """Refuse a job that cannot be started.

    Raises:
        UsageError: the function or program does not exist, it does not accept a task, or the command lacks ``{task}``.
    """
    if config.trainer:
        function = import_function("trainer", config.trainer)
        try:
            inspect.signature(function).bind(None)
        except TypeError as error:
            raise UsageError(f"trainer={config.trainer}: must accept a task: def train(task); {error}") from None
        except ValueError:
            pass  # written in C, without a signature to check
    if config.command:
        words = _words(config.command)
        if not any(_TASK in word for word in words):
            raise UsageError(f"command={config.command}: put {_TASK} where the path of the task belongs")
        if not words or shutil.which(words[0]) is None:
            raise UsageError(f"command={config.command}: no such program {words[0]}; give its path")


def own_training_digest(config: AuditConfig) -> str:
    """Digest of the function's module and its imports, or of the files named in the command; empty without a job."""
    if config.trainer:
        return own_code_digest(config.trainer)
    files = [Path(word) for word in _words(config.command or "") if Path(word).is_file()]
    if not files:
        return ""
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def run_job(
    config: AuditConfig,
    prepared: Prepared,
    schema: ModelSchema,
    folder: Path,
    *,
    seed: int,
    only: Mapping[SplitName, np.ndarray] | None = None,
) -> JobResult:
    """Run the job for one training.

    The folder is emptied first, so that remains of an interrupted job cannot be mistaken for results. The copies of the
    rows are removed after the job has succeeded.

    Args:
        config: names the job; ``data`` is a path, glob or URI.
        prepared: the prepared log.
        schema: the features that the job may read.
        folder: folder for only this training.
        seed: see ``TrainingTask``.
        only: see ``data.write_raw_splits``.

    Raises:
        AuditError: the job failed, timed out, or returned wrong scores; one line.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "output").mkdir(parents=True)
    store = Store.open(prepared.directory)
    task = _task(config, schema, folder, seed, weighted=store.weight("train") is not None)
    files: dict[SplitName, Path] = {"train": task.train, "validation": task.validation, "test": task.test}
    names = [*task.features, *(name for name in (task.time, task.group) if name and name not in task.features)]
    write_raw_splits(config, prepared, names, files, label=task.label, row=task.row, weight=task.weight, only=only)
    task.save(folder / "task.json")
    rows = {
        split: store.first_row(split) + (np.arange(store.rows(split)) if only is None else only[split])
        for split in _SCORED
    }
    started = time.perf_counter()
    given = _call(config, task)
    seconds = time.perf_counter() - started
    where = f"{job_name(config)} ({len(task.features)} features, seed {seed})"
    try:
        found = _from(given, rows, task)
        scores = {split: _checked(split, found[split], len(rows[split]), schema) for split in _SCORED}
    except AuditError as error:
        raise AuditError(f"{where}: {error}") from None
    for file in files.values():
        file.unlink()
    model = task.output / MODEL
    if model.exists() and not (model / "MLmodel").is_file():
        raise AuditError(
            f"{where}: {model} is not an MLflow model; write it with save_model of mlflow.pyfunc or a flavour"
        )
    return JobResult(scores, seconds, model if model.exists() else None)


def _task(config: AuditConfig, schema: ModelSchema, folder: Path, seed: int, *, weighted: bool) -> TrainingTask:
    taken = {*schema.names, config.time, config.group}
    return TrainingTask(
        features=schema.names,
        task=schema.task,
        n_classes=schema.n_classes,
        label=_free("label", taken),
        row=_free("row", taken),
        time=config.time,
        group=config.group,
        weight=_free("weight", taken) if weighted else None,
        train=folder / "train.parquet",
        validation=folder / "validation.parquet",
        test=folder / "test.parquet",
        output=folder / "output",
        seed=seed,
        device=str(resolve_device(config.device)),
        threads=config.threads if config.workers == 1 else job_threads(config.threads, config.workers),
    )


def _free(name: str, taken: set[str | None]) -> str:
    """The name, prefixed with underscores until no column has it."""
    while name in taken:
        name = f"_{name}"
    return name


def job_name(config: AuditConfig) -> str:
    """The job's setting, for messages."""
    return f"trainer={config.trainer}" if config.trainer else f"command={config.command}"


def _call(config: AuditConfig, task: TrainingTask) -> Any:
    """The function's return value; None for a command."""
    if config.trainer:
        function = import_function("trainer", config.trainer)
        with _state_restored():
            return function(task)
    _run(config, task.output.parent)
    return None


@contextmanager
def _state_restored() -> Iterator[None]:
    """Restore process-wide state that the function may change, because the audit continues in the same process."""
    threads, dtype, gradients = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    strict = torch.are_deterministic_algorithms_enabled()
    with chdir(Path.cwd()):
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(gradients)
            torch.use_deterministic_algorithms(strict)


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise UsageError(
            f"command={command}: cannot be parsed as a shell command ({error}); close its quotes"
        ) from None


def _run(config: AuditConfig, folder: Path) -> None:
    """Run the command and wait for it; if the wait ends early, kill the command and its child processes."""
    words = [word.replace(_TASK, str(folder / "task.json")) for word in _words(str(config.command))]
    errors = folder / "stderr.txt"
    with (folder / "stdout.txt").open("wb") as out, errors.open("wb") as err:
        try:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
        except OSError as error:
            raise AuditError(f"{job_name(config)}: cannot be started: {error.strerror}") from None
        try:
            code = process.wait(config.command_timeout or None)
        except subprocess.TimeoutExpired:
            raise AuditError(
                f"{job_name(config)}: was stopped after command_timeout={config.command_timeout} seconds"
                f"{_last_words(errors)}; raise it, or give 0 for no limit"
            ) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code:
        how = f"was ended by signal {-code}" if code < 0 else f"exit code {code}"
        raise AuditError(f"{job_name(config)}: {how}{_last_words(errors)} (full output: {errors})")


def _last_words(file: Path) -> str:
    text = " / ".join(file.read_text(encoding="utf-8", errors="replace").split("\n")[-4:]).strip(" /")
    said = " ".join(text.split())
    return f"; it said: {said if len(said) <= _LAST_WORDS else '…' + said[-_LAST_WORDS:]}" if said else ""


def _from(given: Any, rows: Mapping[SplitName, np.ndarray], task: TrainingTask) -> dict[SplitName, Any]:
    """Scores by split, from the function's return value or from the file that the job wrote."""
    if given is None:
        return dict(read_scores(task.output / PREDICTIONS, rows))
    if not isinstance(given, Predictions):
        raise AuditError(
            f"returned {type(given).__name__}; return feature_audit.trainer.Predictions(validation, test), or write "
            f"{PREDICTIONS} and return None"
        )
    return {"validation": given.validation, "test": given.test}


def _checked(split: SplitName, values: Any, rows: int, schema: ModelSchema) -> np.ndarray:
    """The scores of one split as float32, after validation."""
    scores = values.detach().float().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    wanted = (rows, schema.n_classes) if schema.task == "multiclass" else (rows,)
    if scores.dtype.kind not in "fiu" or (scores.dtype.kind in "iu" and schema.task != "regression"):
        raise AuditError(f"{split}: scores are {scores.dtype}; {_what(schema)}")
    if scores.shape != wanted:
        hint = "; give column [:, 1], the probability of class 1" if _both_classes(scores.shape, wanted) else ""
        raise AuditError(f"{split}: scores have shape {_shape(scores.shape)}, not {_shape(wanted)}{hint}")
    scores = scores.astype(np.float64)
    bad = ~np.isfinite(scores).reshape(rows, -1).all(axis=1)
    if bad.any():
        first = int(bad.argmax())
        raise AuditError(f"{split}: {bad.sum():,} of {rows:,} scores are missing or not finite (first: index {first})")
    if schema.task != "regression" and (scores.min() < 0 or scores.max() > 1):
        raise AuditError(f"{split}: scores range from {scores.min():.3g} to {scores.max():.3g}; {_what(schema)}")
    if schema.task == "multiclass" and np.abs(scores.sum(axis=1) - 1).max() > 1e-3:
        raise AuditError(f"{split}: the probabilities of a row sum to {scores.sum(axis=1)[0]:.4g}; {_what(schema)}")
    return scores.astype(np.float32)


def _both_classes(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    return len(wanted) == 1 and tuple(shape) == (wanted[0], 2)


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _what(schema: ModelSchema) -> str:
    return {
        "binary": "give probabilities of class 1 (apply a sigmoid to logits)",
        "multiclass": "give one probability per class (apply a softmax to logits)",
        "regression": "give numbers in the units of the target",
    }[schema.task]
