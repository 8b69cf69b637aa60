"""Statistics of many rows: memory per row, blocks, codes instead of text, clusters that are pooled."""

from __future__ import annotations

import tracemalloc
from dataclasses import asdict

import numpy as np
import pytest
from feature_audit.noninferiority import Coded, decide
from feature_audit.noninferiority.clusters import cluster_codes, cluster_sums
from feature_audit.noninferiority.ranking import auc_placements, group_auc, group_ndcg
from feature_audit.noninferiority.slices import SmallSlice, slice_masks

ROWS = 60_000


def arms(rows: int = ROWS, users: int = 3_000) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    y = (rng.random(rows) < 0.3).astype(np.float32)
    scores = [(0.2 + 0.1 * y + 0.5 * rng.random(rows)).astype(np.float32).round(3) for _ in range(5)]
    cluster = rng.integers(0, users, rows).astype(np.int32)
    return {"y": y, "baseline": np.stack(scores[:2]), "pruned": np.stack(scores[2:]), "cluster": cluster}


@pytest.mark.parametrize(("by_user", "most"), [(True, 90), (False, 150)])
def test_a_verdict_takes_a_bounded_number_of_bytes_per_row(by_user, most, monkeypatch):
    """For five trainings and four metrics; 40 of the bytes are influence values of rows without users."""
    monkeypatch.setattr("feature_audit.noninferiority.clusters._BLOCK_ROWS", 2_000)  # small against these few rows
    data = arms()
    cluster = data.pop("cluster") if by_user else None
    data.pop("cluster", None)
    guards = dict.fromkeys(["logloss", "calibration", "normalised_entropy"])
    tracemalloc.start()
    decide(**data, cluster=cluster, task="binary", metric="auc", margin=0.01, guards=guards, draws=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak / ROWS < most


@pytest.mark.parametrize("weighted", [False, True])
def test_statistics_do_not_depend_on_how_many_rows_a_block_has(weighted, monkeypatch):
    data = arms(5_000, 200)
    y, score, cluster = data["y"], data["pruned"][0], data["cluster"]
    weight = np.random.default_rng(2).uniform(0.5, 3, len(y)) if weighted else None

    def found() -> list[np.ndarray]:
        auc, placement = auc_placements(y, score, weight)
        sums = cluster_sums(score, cluster, 200)
        ranked = group_auc(y, score, cluster, 200, weight)[0], group_ndcg(y, score, cluster, 200, 10, weight)[0]
        return [np.array(auc), placement, sums, *ranked]

    whole = found()
    monkeypatch.setattr("feature_audit.noninferiority.clusters._BLOCK_ROWS", 37)
    for one, other in zip(whole, found(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("labels", [[7, 3, 3, 0, 9, 7], [-1, 5, 5], [10**12, 5, 10**12], ["b", "a", "b"], [2.5, 1.0]])
def test_clusters_are_coded_in_the_order_of_their_labels(labels):
    values, codes = np.unique(np.array(labels), return_inverse=True)
    found, count = cluster_codes(np.array(labels), len(labels))
    assert found is not None
    assert (found.tolist(), count) == (codes.tolist(), len(values))


def test_codes_and_text_are_the_same_slices_and_codes_of_one_text_are_one_slice():
    data = arms()
    rng = np.random.default_rng(3)
    codes, labels = rng.integers(0, 4, ROWS).astype(np.int32), ("ten", "2", "ten", "no row", "unused")
    codes[codes == 3] = 1
    text = np.array(labels)[codes]

    def judged(given: Coded | np.ndarray) -> dict:
        return asdict(decide(**data, task="binary", metric="auc", margin=0.01, slices={"c": given}, draws=0))

    by_code = judged(Coded(codes, labels))
    assert by_code == judged(text)
    sizes = {row["slice"]: row["rows"] for row in by_code["deltas"] if row["slice"] != "all"}
    assert sizes == {"c = ten": np.count_nonzero(text == "ten"), "c = 2": np.count_nonzero(text == "2")}


def test_a_chosen_slice_value_without_rows_is_reported():
    found = list(slice_masks({"c": Coded(np.zeros(100, np.int32), ("a", "b"))}, 100, None, {"c": ["b"]}))
    assert found == [SmallSlice("c", "c = b", 0, "no test rows")]


def test_pooled_clusters_give_the_bootstrap_of_before(monkeypatch):
    """Sums are pooled training by training, with the same resampled values as if pooled at once."""
    data = arms(4_000, 900)
    asked = {"task": "binary", "metric": "auc", "margin": 0.01, "guards": {"logloss": None}, "draws": 400}
    alone = decide(**data, **asked).diagnostics["bootstrap"]
    monkeypatch.setattr("feature_audit.noninferiority.resampling.MOST_CLUSTERS", 300)
    pooled = decide(**data, **asked).diagnostics["bootstrap"]
    for name in ("auc", "logloss"):
        assert pooled[name] != alone[name]
        assert pooled[name]["standard_error"] == pytest.approx(alone[name]["standard_error"], rel=0.25)
