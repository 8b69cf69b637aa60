"""A model with some fields shut: what a selector sees of it, and that nothing of the shut fields gets through."""

from __future__ import annotations

import torch
from feature_audit.models import OpenFields, build_model
from memory_store import planted

OPEN = [0, 2, 5]


def test_shut_fields_feed_their_mean_and_open_fields_pass_unchanged() -> None:
    store = planted()
    model = build_model("mlp", store.schema, embedding_dim=3, params={}).eval()
    batches = list(store.batches("train", 256))
    narrow = OpenFields(model, OPEN, batches)
    batch = batches[0]
    embedded = model.embed(batch)
    assert torch.equal(narrow.embed(batch), embedded[:, OPEN])

    expected = torch.cat([model.embed(part) for part in batches]).mean(dim=0).expand_as(embedded).clone()
    expected[:, OPEN] = embedded[:, OPEN]
    assert torch.allclose(narrow.predict(narrow.embed(batch)), model.predict(expected), atol=1e-5)

    batch.bags[0].random_(0, 10)  # field 3 is a vector, field 2 the bag: 2 is open, so this one must be seen
    batch.vectors[0].normal_()
    changed = narrow.embed(batch)
    assert not torch.equal(changed[:, 1], embedded[:, 2])
    assert torch.equal(changed[:, [0, 2]], embedded[:, [0, 5]])


def test_gradients_reach_the_open_fields_and_no_shut_one() -> None:
    store = planted()
    model = build_model("mlp", store.schema, embedding_dim=3, params={})
    narrow = OpenFields(model, OPEN, store.batches("train", 512))
    whole: list[torch.Tensor] = []
    embed = model.embed

    def watched(batch: object) -> torch.Tensor:
        whole.append(embed(batch).detach().requires_grad_())
        return whole[-1]

    model.embed = watched  # type: ignore[method-assign]
    narrow.predict(narrow.embed(next(store.batches("train", 64)))).sum().backward()
    reached = whole[0].grad.abs().sum(dim=(0, 2)) > 0  # type: ignore[union-attr]
    assert [index for index, hit in enumerate(reached.tolist()) if hit] == OPEN
