"""Cached expectations equal those that would be computed again."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from concrete_selectors import Teacher
from data_helpers import every_kind, prepared_of
from feature_audit.models import build_model, predict, to_scores
from feature_audit.selection.teacher import KnownTeacher


def test_the_table_holds_what_the_model_expects(tmp_path: Path) -> None:
    store = prepared_of(every_kind(), tmp_path, row_id="row", time="at", group="user")[1]
    schema = store.schema
    model: torch.nn.Module = build_model("mlp", schema, embedding_dim=3, params={}).eval()
    scored = predict(model, store, "validation", schema, task=schema.task, device="cpu")
    asked = predict(model, store, "train", schema, task=schema.task, device="cpu")
    known = KnownTeacher(asked, scored, store)
    anew = Teacher(model, partial(to_scores, task=schema.task))
    index = torch.tensor([5, 1, 8])
    for split in ("train", "validation"):
        for batch in store.batches(split, 64, seed=3):
            torch.testing.assert_close(known(batch, None), anew(batch, None), rtol=1e-5, atol=1e-6)
        first = next(iter(store.batches(split, 64, seed=3)))
        torch.testing.assert_close(known(first, index), anew(first, index), rtol=1e-5, atol=1e-6)
    assert known.rows_asked == 0, "the model was asked before"
