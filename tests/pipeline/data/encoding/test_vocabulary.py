"""Vocabulary look-ups of few rows and of many rows use different methods, which give the same codes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from feature_audit.data.encoding.vocabulary import Vocabulary
from hypothesis import given
from hypothesis import strategies as st

VALUES = {
    "text": [f"v{number}" for number in range(50)] + ["", "é", "0"],
    "integer": [*range(0, 500, 10), -(2**63), 2**62, 2**70],
    "float": [number / 4 for number in range(50)] + [-0.5, 1e300, 3e-310],
}
UNKNOWN = {"text": "nobody", "integer": 7, "float": 0.3}


@pytest.mark.parametrize("buckets", [0, 5])
@pytest.mark.parametrize("key", VALUES)
@given(places=st.lists(st.integers(-1, 53), min_size=1, max_size=20))
def test_the_code_of_a_row_does_not_depend_on_the_other_rows(key: str, buckets: int, places: list[int]) -> None:
    known = Vocabulary(key, VALUES[key], buckets)
    cells = [None if place < 0 else UNKNOWN[key] if place == 53 else VALUES[key][place] for place in places]
    if key == "integer":
        cells = [None if cell is None or cell >= 2**63 else cell for cell in cells]
    few = pl.Series(cells, dtype={"text": pl.String, "integer": pl.Int64, "float": pl.Float64}[key])
    many = pl.concat([few, *[few[:1]] * len(VALUES[key])])
    assert known.codes(few).dtype == np.int32
    assert known.codes(few).tolist() == known.codes(many)[: len(few)].tolist()
