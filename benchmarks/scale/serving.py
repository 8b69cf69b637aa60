"""One-row scoring of a registered model with large vocabularies: in the process, and behind `mlflow models serve`.

    PYTHONPATH=pipeline:selectors python benchmarks/scale/serving.py
    PYTHONPATH=pipeline:selectors python benchmarks/scale/serving.py --columns 40 --values 50000 --clients 4 --csv FILE

The model is saved as an audit registers it (encoders, weights, packed code, signature) but not trained: the cost of a
row does not depend on the weights. In this process it is scored by `mlflow.pyfunc.load_model`, whose check of the
signature is shown separately, and by the underlying class; frames are created before the measurement. `mlflow models
serve` gets HTTP requests on loopback, each client with a separate connection. Every request has another row; the first
ones, which build the lookup tables, are not counted. CPU time is more reliable than wall time on a busy machine.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import torch
from feature_audit.data.encoding.encoder_set import Encoders
from feature_audit.data.encoding.encoders import CodeEncoder
from feature_audit.data.encoding.vocabulary import Vocabulary
from feature_audit.models import build_model
from feature_audit.schema import ModelSchema
from feature_audit.tracking import pyfunc_model
from feature_audit.tracking.checksums import write_checksums
from feature_audit.tracking.registry import RawInput, signature_of
from mlflow.models.utils import _enforce_schema

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

ROOT = Path(__file__).parents[2]
WARM_UP = 20
Row = dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", type=int, default=40)
    parser.add_argument("--values", type=int, default=50_000, help="texts that each column knows")
    parser.add_argument("--requests", type=int, default=500, help="of each client")
    parser.add_argument("--clients", type=int, action="append", help="at once; default: 1, then 4")
    csv_option(parser)
    given = parser.parse_args()
    print(f"{given.columns} columns of {given.values:,} values each\n")
    table = Table(["one row through", "clients", "p50 ms", "p99 ms", "CPU p50 ms", "rows/s"], given.csv)
    with tempfile.TemporaryDirectory() as folder:
        model = save(Path(folder), given.columns, given.values)
        rows = some_rows(given.columns, given.values, WARM_UP + given.requests)
        loaded = mlflow.pyfunc.load_model(str(model))
        schema, scorer = loaded.metadata.get_input_schema(), loaded.unwrap_python_model()

        def check(frame: pd.DataFrame) -> pd.DataFrame:
            return _enforce_schema(frame, schema)

        pandas, objects = [pd.DataFrame([row]) for row in rows], [pd.DataFrame([row], dtype=object) for row in rows]
        show(table, "`mlflow.pyfunc`, pandas, text as `str`", timed(loaded.predict, pandas))
        show(
            table,
            "of that, MLflow's check of the signature",
            timed(lambda frame: _enforce_schema(frame, schema), pandas),
        )
        show(table, "`mlflow.pyfunc`, pandas, text as `object`", timed(loaded.predict, objects))
        show(
            table,
            "of that, MLflow's check of the signature",
            timed(lambda frame: _enforce_schema(frame, schema), objects),
        )
        polars = [pl.DataFrame([row]) for row in rows]
        show(table, "`unwrap_python_model()`, Polars", timed(lambda frame: scorer.predict(None, frame), polars))
        with served(model) as port:
            for clients in given.clients or [1, 4]:
                show(table, "`mlflow models serve`", load_test(port, rows, clients), clients)


def save(folder: Path, columns: int, values: int) -> Path:
    """Save a model as `register` logs it."""
    names = [f"c{place:02d}" for place in range(columns)]
    words = [f"value_{number}" for number in range(values)]
    encoders = Encoders({name: CodeEncoder(name, Vocabulary("text", words)) for name in names})
    schema = ModelSchema(encoders.fields, "binary")
    artifacts = folder / "artifacts"
    artifacts.mkdir()
    encoders.save(artifacts / "encoders.json")
    torch.save(build_model("dcn_v2", schema, embedding_dim=4, params={}).state_dict(), artifacts / "weights.pt")
    spec = {
        "model": "dcn_v2", "embedding_dim": 4, "params": {}, "attach": None, "task": "binary", "n_classes": 2,
        "fields": [asdict(field) for field in schema.fields], "dtypes": dict.fromkeys(names, "String"),
    }  # fmt: skip
    (artifacts / "model.json").write_text(json.dumps(spec), encoding="utf-8")
    code = [ROOT / "pipeline" / "feature_audit", ROOT / "selectors" / "concrete_selectors"]
    write_checksums(artifacts, code)
    mlflow.pyfunc.save_model(
        folder / "model",
        python_model=pyfunc_model.__file__,
        artifacts={"pruned": str(artifacts)},
        code_paths=[str(place) for place in code],
        signature=signature_of([RawInput(name, "String") for name in names]),
        pip_requirements=["mlflow"],  # nothing is installed
    )
    return folder / "model"


def some_rows(columns: int, values: int, number: int) -> list[Row]:
    """Known values, one in ten unknown."""
    drawn = np.random.default_rng(0).integers(0, values + values // 9, (number, columns))
    return [{f"c{place:02d}": f"value_{value}" for place, value in enumerate(row)} for row in drawn]


def timed(score: Callable[[Any], Any], rows: Sequence[Any]) -> np.ndarray:
    """Wall and CPU seconds of each row after the warm-up, float64 (rows, 2)."""
    taken = []
    for row in rows:
        started = time.perf_counter(), time.process_time()
        score(row)
        taken.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    return np.array(taken[WARM_UP:])


@contextmanager
def served(model: Path) -> Iterator[int]:
    """Port of a scoring server on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    mlflow_command = str(Path(sys.executable).with_name("mlflow"))
    command = [mlflow_command, "models", "serve", "-m", str(model), "-p", str(port), "--env-manager", "local"]
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # it starts uvicorn by name
    environment = {**os.environ, "PATH": search, "MLFLOW_DISABLE_TELEMETRY": "true"}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 300
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the server does not answer")
            time.sleep(0.5)
        yield port
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False


def load_test(port: int, rows: Sequence[Row], clients: int) -> np.ndarray:
    """Wall seconds of each request of all clients, and NaN for CPU seconds, which the server spends; (requests, 2)."""
    taken: list[float] = []

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

        def ask(row: Row) -> None:
            body = json.dumps({"dataframe_records": [row]})
            connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise RuntimeError(content.decode())

        taken.extend(timed(ask, list(np.roll(np.array(rows, dtype=object), number)))[:, 0])

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(taken) < clients * (len(rows) - WARM_UP):
        raise RuntimeError("a client failed")
    return np.column_stack([taken, np.full(len(taken), np.nan)])


def show(table: Table, what: str, seconds: np.ndarray, clients: int = 1) -> None:
    middle, high = 1000 * np.quantile(seconds[:, 0], [0.5, 0.99])
    cpu = 1000 * np.median(seconds[:, 1])
    shown = "-" if np.isnan(cpu) else f"{cpu:.2f}"
    rate = float(clients / seconds[:, 0].mean())
    table.add(
        [what, clients, f"{middle:.2f}", f"{high:.2f}", shown, f"{rate:,.0f}"],
        {
            "through": what, "clients": clients, "requests": len(seconds), "p50_ms": float(middle),
            "p99_ms": float(high), "cpu_p50_ms": "" if np.isnan(cpu) else float(cpu), "rows_per_second": rate,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
