"""Registration of the pruned model: its name, signature, example, and the version that a person reviews."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
import polars.selectors as cs

from feature_audit.errors import AuditError, UsageError
from feature_audit.tracking.checksums import write_checksums
from feature_audit.tracking.connection import answers_soon, connect, is_missing, store_problem
from feature_audit.tracking.events import CANDIDATE

_NAME_LIMIT = 256  # limit of MLflow's database
_ABOUT = """Pruned models that Feature Audit recommends: each version scores raw rows that hold its kept columns.

The alias `prune-candidate` names the newest version that passed its audit, `production` the one in use. Promote with
`feature-audit promote --model_name {name}` and take it back with `feature-audit rollback --model_name {name}`. The
button **Promote model** of a version's page does something else: it copies the version to another registered model.
"""


def check_name(model_name: str) -> None:
    """Refuse a model name that MLflow refuses, or that cannot occur in ``models:/<name>/<version>``.

    Raises:
        UsageError: the name is not valid; one line.
    """
    bad = sorted(set(re.findall(r"[/:?\x00-\x1f\x7f]", model_name)))
    if bad or model_name.strip() in ("", ".", "..") or len(model_name) > _NAME_LIMIT:
        reason = f"MLflow does not allow {' '.join(map(repr, bad))} in the name of a registered model" if bad else (
            f"a registered model needs a name of 1 to {_NAME_LIMIT} characters that is not a path"
        )  # fmt: skip
        near = re.sub(r"[/:?\x00-\x1f\x7f]+", "-", model_name).strip("-. ")[:_NAME_LIMIT] or "feature-audit"
        raise UsageError(f"model_name={model_name!r}: {reason}; give one such as {near}")


def check_ready(model_name: str) -> None:
    """Query the registry for the model, so that an unavailable registry is detected before training.

    Raises:
        AuditError: the registry does not respond, or denies this user access to the model.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    with answers_soon(f"model_name={model_name}", hint=", or give another model_name"):
        try:
            MlflowClient().get_registered_model(model_name)
        except MlflowException as error:
            if not is_missing(error):
                raise


def _version_with(client: Any, model_name: str, key: str) -> str | None:
    # Filter only by the tag: a filter cannot contain a name with quotes.
    found = [one for one in client.search_model_versions(f"tags.`audit.key` = '{key}'") if one.name == model_name]
    return next((str(one.version) for one in found if one.tags.get("audit.verdict") == "pass"), None)


#: Module that MLflow loads a version with: for a model of this program, or of an external training job.
Loader = Literal["pyfunc_model", "pyfunc_job_model"]


@dataclass(frozen=True)
class RawInput:
    """A raw column that the model reads: its name and Polars dtype as text."""

    name: str
    dtype: str


def register(
    *,
    run_id: str,
    model_name: str,
    artifacts: Path,
    code: Sequence[Path],
    inputs: Sequence[RawInput],
    example: pl.DataFrame,
    tags: Mapping[str, Any],
    describe: Callable[[str], str],
    loader: Loader = "pyfunc_model",
) -> str:
    """Register the pruned model and give it the alias ``prune-candidate``.

    After a failure, a repeated call continues where the last one stopped: a version with the same ``audit.key`` is
    reused, described and given the alias.

    Args:
        run_id: the audit's parent run, recorded as the version's source; it is RUNNING afterwards.
        model_name: registered model, created if missing.
        artifacts: folder that the loader reads.
        code: packages and modules that are needed for loading and are not on a package index.
        inputs: the kept raw columns, which make up the signature.
        example: some raw rows of these columns, stored with the model as an input example.
        tags: version tags; ``audit.key`` identifies what was trained and evaluated.
        describe: address ``models:/<name>/<version>`` -> description in Markdown.
        loader: the module of this package with which MLflow loads the version.

    Returns:
        The address.

    Raises:
        AuditError: the registry or the artifact store refuses or does not respond.
    """
    connect()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient()
    try:
        version = _version_with(client, model_name, tags["audit.key"])
        if version is None:
            uri = _log_model(client, run_id, artifacts, loader, code, inputs, example)
            version = _new_version(client, uri, model_name, tags)
        address = f"models:/{model_name}/{version}"
        client.update_model_version(model_name, version, description=describe(address))
        client.set_registered_model_alias(model_name, CANDIDATE, version)
    except (MlflowException, OSError) as error:
        raise AuditError(f"model_name={model_name}: {store_problem(error)}") from error
    return address


def _log_model(
    client: Any,
    run_id: str,
    artifacts: Path,
    loader: Loader,
    code: Sequence[Path],
    inputs: Sequence[RawInput],
    example: pl.DataFrame,
) -> str:
    """Log the model to the run; returns the address from which it can be registered."""
    import mlflow

    write_checksums(artifacts, code)
    mlflow.end_run()  # an external training job may have left a run active
    try:
        with warnings.catch_warnings(), mlflow.start_run(run_id=run_id):
            warnings.simplefilter("ignore", UserWarning)  # advice on type hints; the signature is explicit
            logged = mlflow.pyfunc.log_model(
                name="pruned",
                python_model=str(Path(__file__).with_name(f"{loader}.py")),
                artifacts={"pruned": str(artifacts)},
                code_paths=[str(place) for place in code],
                signature=signature_of(inputs),
                # MLflow scores the example, which requires a model.
                input_example=example_of(example) if _scores(loader, artifacts) else None,
                pip_requirements=_requirements() if loader == "pyfunc_model" else _job_requirements(artifacts),
                registered_model_name=None,
            )
    finally:
        client.update_run(run_id, status="RUNNING")  # leaving `start_run` ended the run, but the audit continues
    return str(logged.model_uri)


def _new_version(client: Any, uri: str, model_name: str, tags: Mapping[str, Any]) -> str:
    import mlflow

    rounded = {key: f"{value:.6g}" if isinstance(value, float) else str(value) for key, value in tags.items()}
    version = str(mlflow.register_model(uri, model_name, tags=rounded).version)
    if not client.get_registered_model(model_name).description:
        client.update_registered_model(model_name, _ABOUT.format(name=shlex.quote(model_name)))
    return version


def example_of(rows: pl.DataFrame) -> Any:
    """Raw rows as a pandas frame that MLflow can write as strict JSON: Python values, None for missing cells."""
    import pandas as pd

    plain = rows.with_columns(cs.float().fill_nan(None), (cs.duration() | cs.time() | cs.decimal()).cast(pl.String))
    return pd.DataFrame({name: pd.Series(plain[name].to_list(), dtype=object) for name in plain.columns})


def signature_of(inputs: Sequence[RawInput]) -> Any:
    """An MLflow signature of exactly these raw columns: all are required, but their cells may be missing.

    Strings, dates and lists are declared as such. Numbers, booleans and list entries are ``any``: pandas changes their
    dtype as soon as a batch contains a null, MLflow would refuse that batch, and the encoders accept every dtype.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    return ModelSignature(inputs=Schema([ColSpec(_mlflow_type(one), name=one.name, required=True) for one in inputs]))


def _mlflow_type(column: RawInput) -> Any:
    from mlflow.types.schema import AnyType, Array, DataType

    name = column.dtype
    if name.startswith(("List", "Array")):
        return Array(AnyType())  # for which MLflow also accepts a null list
    if name == "String":
        return DataType.string
    if name == "Date" or (name.startswith("Datetime") and "time_zone='" not in name):
        return DataType.datetime
    return AnyType()


def _requirements() -> list[str]:
    names = ("mlflow", "torch", "polars", "numpy", "scikit-learn", "scipy", "pydantic", "pyyaml", "tqdm")
    return [f"{name}=={importlib.metadata.version(name).split('+')[0]}" for name in names]


def _scores(loader: Loader, artifacts: Path) -> bool:
    return loader == "pyfunc_model" or (artifacts / "model").is_dir()


def _job_requirements(artifacts: Path) -> list[str]:
    """Requirements of the job's MLflow model."""
    asked = artifacts / "model" / "requirements.txt"
    lines = asked.read_text(encoding="utf-8").splitlines() if asked.is_file() else []
    own = [line.strip() for line in lines if line.strip() and not line.startswith("mlflow")]
    return [f"mlflow=={importlib.metadata.version('mlflow')}", *own]
