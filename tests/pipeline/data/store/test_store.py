"""Batches contain every row once, for any size, seed, fields and chunks."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from data_helpers import every_kind, prepared_of
from feature_audit.data import Store
from feature_audit.data.store import reader as store_module
from feature_audit.errors import AuditError


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return prepared_of(every_kind(2_500), tmp_path_factory.mktemp("store"), row_id="row", time="at", group="user")[1]


def joined(batches) -> dict[str, torch.Tensor]:
    """All batches as one table of columns per form."""
    parts = list(batches)
    return {
        "numeric": torch.cat([b.numeric for b in parts]),
        "codes": torch.cat([b.codes for b in parts]),
        "target": torch.cat([b.target for b in parts]),
        **{f"bag{i}": torch.cat([b.bags[i] for b in parts]) for i in range(len(parts[0].bags))},
        **{f"vector{i}": torch.cat([b.vectors[i] for b in parts]) for i in range(len(parts[0].vectors))},
    }


def row_keys(table: dict[str, torch.Tensor]) -> list[bytes]:
    """One value per row over all columns, to compare tables as multisets of whole rows."""
    flat = torch.cat([part.reshape(len(part), -1).double() for part in table.values()], dim=1)
    return sorted(row.tobytes() for row in flat.numpy())


def small_chunks(monkeypatch, store: Store, rows: int) -> None:
    """Make chunks of about the given number of rows, as for a very large table."""
    stored = sum(file.stat().st_size for file in (store.directory / "train").glob("*.bin"))
    monkeypatch.setattr(store_module, "CHUNK_BYTES", rows * stored // store.rows("train"))
    monkeypatch.setattr(store_module, "BLOCKS_PER_CHUNK", 4)


def test_dtypes_and_shapes(store):
    batch = next(store.batches("train", 32))
    forms = [field.form for field in store.schema.fields]
    assert batch.numeric.dtype == torch.float32
    assert batch.numeric.shape == (32, forms.count("numeric"))
    assert batch.codes.dtype == torch.int64
    assert batch.codes.shape == (32, forms.count("code"))
    widths = [field.width for field in store.schema.fields if field.form == "bag"]
    assert [tuple(bag.shape) for bag in batch.bags] == [(32, width) for width in widths]
    assert all(bag.dtype == torch.int64 for bag in batch.bags)
    assert batch.vectors[0].dtype == torch.float32
    assert batch.target.dtype == torch.float32


@pytest.mark.parametrize("size", [1, 7, 256, 1_699, 1_700, 5_000])
def test_every_size_covers_every_row_in_order(store, size):
    sizes = [len(batch) for batch in store.batches("train", size)]
    assert sum(sizes) == store.rows("train")
    assert all(n == size for n in sizes[:-1])
    whole = next(store.batches("train", 10_000))
    table = joined(store.batches("train", size))
    assert torch.equal(table["numeric"], whole.numeric)
    assert torch.equal(table["target"], torch.from_numpy(store.target("train")))


@pytest.mark.parametrize("rows", [None, 130, 500])
def test_shuffling_keeps_whole_rows_and_follows_the_seed(store, monkeypatch, rows):
    if rows:
        small_chunks(monkeypatch, store, rows)
    plain = joined(store.batches("train", 64))
    one, again, other = (joined(store.batches("train", 64, seed=seed)) for seed in (1, 1, 2))
    assert row_keys(one) == row_keys(plain) == row_keys(other)
    assert torch.equal(one["numeric"], again["numeric"])
    assert not torch.equal(one["numeric"], plain["numeric"])
    assert not torch.equal(one["numeric"], other["numeric"])


@pytest.mark.parametrize("rows", [None, 130])
def test_every_row_says_where_it_stands(store, monkeypatch, rows):
    """Shuffled or not, whole or in part: the row number identifies the row, and no two splits share one."""
    if rows:
        small_chunks(monkeypatch, store, rows)
    total = 0
    for split in ("train", "validation", "test"):
        batches = list(store.batches(split, 64, seed=5))
        places = torch.cat([batch.row for batch in batches])
        assert sorted(places.tolist()) == list(range(total, total + store.rows(split)))
        assert not torch.equal(places, places.sort().values)
        whole = joined(store.batches(split, 10_000))
        for name, part in joined(batches).items():
            assert torch.equal(part, whole[name][places - total]), name
        some = torch.tensor([2, 0])
        assert torch.equal(batches[0].rows(some).row, batches[0].row[some])
        total += store.rows(split)


def test_chunks_change_no_row_when_in_order(store, monkeypatch):
    plain = joined(store.batches("train", 64))
    small_chunks(monkeypatch, store, 130)
    chunked = list(store.batches("train", 64))
    assert all(len(batch) == 64 for batch in chunked[:-1])
    for name, part in joined(chunked).items():
        assert torch.equal(part, plain[name]), name


def test_a_shuffled_chunk_mixes_early_and_late_rows(store, monkeypatch):
    small_chunks(monkeypatch, store, 400)
    monkeypatch.setattr(store_module, "BLOCKS_PER_CHUNK", 40)
    ids = store.row_id("train")
    order = np.argsort(ids)
    assert (order == np.arange(len(ids))).all()
    first = joined(list(store.batches("train", 10, seed=3))[:40])
    whole = next(store.batches("train", 10_000))
    place = {row.numpy().tobytes(): i for i, row in enumerate(whole.vectors[0])}
    seen = [place[row.numpy().tobytes()] for row in first["vector0"]]
    assert np.std(seen) > 0.2 * len(ids)  # one run of 400 rows would spread a quarter of that


def test_kept_fields_only(store):
    names = [store.schema.names[i] for i in (1, 3, 5)]
    schema = store.schema.keep(names)
    batch = next(store.batches("test", 10_000, schema=schema))
    whole = next(store.batches("test", 10_000))
    forms = {field.name: field.form for field in store.schema.fields}
    codes = [name for name in store.schema.names if forms[name] == "code"]
    numeric = [name for name in store.schema.names if forms[name] == "numeric"]
    assert torch.equal(batch.numeric, whole.numeric[:, [numeric.index(n) for n in names if forms[n] == "numeric"]])
    assert torch.equal(batch.codes, whole.codes[:, [codes.index(n) for n in names if forms[n] == "code"]])
    assert len(batch.bags) + len(batch.vectors) == sum(forms[n] in ("bag", "vector") for n in names)


def test_matrix_has_one_column_per_feature(store):
    matrix = store.matrix("test", store.schema)
    assert matrix.shape == (store.rows("test"), len(store.schema.fields))
    assert matrix.dtype == np.float32
    assert np.isfinite(matrix).all()
    batch = next(store.batches("test", 10_000))
    forms = [field.form for field in store.schema.fields]
    np.testing.assert_array_equal(matrix[:, forms.index("numeric")], batch.numeric[:, 0])
    np.testing.assert_array_equal(matrix[:, forms.index("code")], batch.codes[:, 0])


def test_files_hold_small_types_and_only_the_rows(store):
    rows = store.rows("train")
    count = sum(field.form == "numeric" for field in store.schema.fields)
    assert (store.directory / "train" / "numeric.bin").stat().st_size == 4 * rows * count
    assert (store.directory / "train" / "codes_uint8.bin").exists()


def test_no_store_is_one_line(tmp_path: Path):
    with pytest.raises(AuditError, match="the training store is incomplete; run the load stage again"):
        Store.open(tmp_path)


def test_values_per_row_are_mapped_and_a_write_stays_in_memory(store: Store) -> None:
    for name in ("target", "group"):
        kept = np.load(store.directory / "train" / f"{name}.npy")
        values = getattr(store, name)("train")
        assert isinstance(values.base, np.memmap)
        values[0] += 1
        np.testing.assert_array_equal(np.load(store.directory / "train" / f"{name}.npy"), kept)
        values[0] -= 1


@pytest.mark.parametrize("seed", [None, 3])
def test_one_chunk_is_held_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch, seed: int | None) -> None:
    small_chunks(monkeypatch, store, 300)
    read, chunks, alive = Store._read, [], []

    def counted(*given):
        alive.append(sum(one() is not None for one in chunks))
        chunk = read(*given)
        chunks.append(weakref.ref(chunk.numeric))
        return chunk

    monkeypatch.setattr(Store, "_read", counted)
    for batch in store.batches("train", 64, seed=seed):
        assert len(batch)
        del batch
    assert len(alive) > 3
    assert not any(alive)
