"""Names of parity's metrics: for any names of slices, MLflow accepts them, and they are unique."""

from __future__ import annotations

from feature_audit.results import MetricDelta
from feature_audit.tracking.parity_metrics import parity_metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.utils.validation import _validate_metric_name
from stores import store_in


def row(metric: str, part: str, delta: float = 0.0) -> MetricDelta:
    return MetricDelta(metric, part, 100, 50, 0.7, 0.7, delta, -0.1, 0.1, 0.01, "pass", "guard", "not_worse")


def test_a_metric_and_its_slices_have_names_that_can_be_guessed() -> None:
    found = parity_metrics([row("auc", "all", 0.5), row("ndcg@5", "all"), row("auc", "country = NL", 0.25)])
    assert list(found) == [
        f"parity/{name}.{part}" for name in ("auc", "ndcg_at_5", "auc_at_country:NL")
        for part in ("delta", "ci_low", "ci_high")
    ]  # fmt: skip
    assert (found["parity/auc.delta"], found["parity/auc_at_country:NL.delta"]) == (0.5, 0.25)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=300)), max_size=6, unique=True))
def test_no_name_is_refused_or_lost(slices: list[tuple[str, str]]) -> None:
    found = parity_metrics([row("auc", f"{column} = {value}") for column, value in slices])
    assert len(found) == 3 * len(slices)
    for name in found:
        _validate_metric_name(name)
        assert len(name) <= 250


def test_a_store_takes_hostile_names(tmp_path) -> None:
    hostile = ["a/../b", "//", "<= 5", "> 5", "'; drop table", "数量 = 1", "a" * 400, ".", "..", "x@y", "%", ""]
    found = parity_metrics([row("auc", f"item = {value}") for value in hostile])
    with store_in(tmp_path):
        client = MlflowClient()
        run = client.create_run("0").info.run_id
        client.log_batch(run, metrics=[Metric(name, value, 0, 0) for name, value in found.items()])
        assert client.get_run(run).data.metrics == found
