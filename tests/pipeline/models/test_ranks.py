"""Ranks of a training: their steps equal those of the whole batch, for all kinds of gradients and sizes of parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import rank_jobs
from feature_audit.engine import Job, LocalEngine
from memory_store import planted
from rank_jobs import SIZES, Odd, batch_of, gradients_of, sum_of_losses
from sklearn.metrics import roc_auc_score


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The results of the two ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    with LocalEngine(2, threads=1) as engine:
        return engine.run(
            [Job(rank_jobs.meet, (folder, rank, 2), folder / str(rank), f"rank {rank}") for rank in (0, 1)]
        )


@pytest.mark.parametrize("place", range(len(SIZES)), ids=[f"{size} rows" for size in SIZES])
def test_gradients_are_those_of_the_whole_batch(found: list[dict[str, Any]], place: int) -> None:
    model, batch = Odd(), batch_of(SIZES[place])
    loss = sum_of_losses(model, batch) / len(batch)
    loss.backward()
    expected = gradients_of(model)
    assert expected["unused"] is None
    assert expected["sparse"] == ["last.weight", "table.weight"]
    for mean, gradients in (one["gradients"][place] for one in found):
        assert mean == pytest.approx(loss.item(), rel=1e-6)
        assert gradients.pop("sparse") == expected["sparse"]
        for name, gradient in gradients.items():
            if expected[name] is None:
                assert gradient is None
            else:
                np.testing.assert_allclose(gradient, expected[name], rtol=2e-5, atol=1e-8)
                np.testing.assert_array_equal(gradient, found[0]["gradients"][place][1][name])


def test_rank_0_says_what_weights_and_running_means_are(found: list[dict[str, Any]]) -> None:
    assert [one["aligned"] for one in found] == [5, 5]
    assert [one["total"] for one in found] == [[3.0, 1.0]] * 2


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_training_is_that_of_one_process(found: list[dict[str, Any]], task: str) -> None:
    """The second rank starts with other weights, and both end with the same ones."""
    alone, losses, examples = rank_jobs.trained(task)
    for scores, looks, passed in (one["trained"][task] for one in found):
        np.testing.assert_array_equal(scores, found[0]["trained"][task][0])
        np.testing.assert_allclose(looks, losses, rtol=1e-3)
        assert passed == examples
    assert np.corrcoef(alone, scores)[0, 1] > 0.9999
    if task == "binary":
        labels = planted(task, rows=1_501).target("validation")
        assert roc_auc_score(labels, scores) == pytest.approx(roc_auc_score(labels, alone), abs=0.0005)
