"""The code in docs/how-to/own-model.md does what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from feature_audit.config.sections import TrainingConfig
from feature_audit.models import build_model, check_model, predict, train
from memory_store import planted
from sklearn.metrics import roc_auc_score

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "own-model.md"
FACTORY, LOOP = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.slow
def test_the_factory_passes_the_contract_test_and_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page_model.py").write_text(FACTORY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    store = planted(rows=2000)
    model = build_model("page_model:build", store.schema, embedding_dim=0, params={"hidden": 16}, seed=0)
    assert [
        finding for finding in check_model(model, store.schema, store.batch(np.arange(64))) if not finding.passed
    ] == []
    config = TrainingConfig(max_epochs=8, learning_rate=0.01)
    train(model, store, store.schema, config=config, task="binary", seed=0, device="cpu")
    made = predict(model, store, "test", store.schema, task="binary", device="cpu")
    assert roc_auc_score(store.target("test"), made) > 0.75


def test_the_loop_keeps_what_the_page_says() -> None:
    names: dict[str, object] = {}
    exec(compile(LOOP, str(PAGE), "exec"), names)
    assert np.asarray(names["kept"]).tolist() == [0, 1, 2]
