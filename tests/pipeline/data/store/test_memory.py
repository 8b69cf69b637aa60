"""Peak memory of a preparation follows chunk and columns, not rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

MEASURE = """
import resource, sys
from pathlib import Path
from feature_audit.config import AuditConfig
from feature_audit.data import Store, prepare
from feature_audit.data.store import reader as store_module
store_module.CHUNK_BYTES = 16 << 20
folder = Path(sys.argv[1])
prepare(AuditConfig(data=str(folder / "log.parquet"), target="y", time="at", group="user"), folder / "store")
store = Store.open(folder / "store")
rows = sum(len(batch) for batch in store.batches("train", 4096, seed=0))
assert rows == store.rows("train")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def write_log(folder: Path, rows: int, columns: int = 24, part: int = 100_000) -> None:
    rng = np.random.default_rng(0)
    folder.mkdir()

    def make(start: int) -> pl.DataFrame:
        count = min(part, rows - start)
        data = {f"f{i}": rng.standard_normal(count, dtype=np.float32) for i in range(columns - 4)}
        data |= {f"c{i}": pl.Series(rng.integers(0, 300, count)).cast(pl.String) for i in range(4)}
        data |= {
            "at": np.arange(start, start + count),
            "user": rng.integers(0, 5_000, count),
            "y": rng.integers(0, 2, count),
        }
        return pl.DataFrame(data)

    parts = folder / "parts"
    parts.mkdir()
    for number, start in enumerate(range(0, rows, part)):
        make(start).write_parquet(parts / f"{number:03d}.parquet")
    pl.scan_parquet(parts / "*.parquet").sink_parquet(folder / "log.parquet", row_group_size=part)


def peak(folder: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder)], check=True, capture_output=True, text=True,
        env={"PYTHONPATH": ":".join(filter(None, sys.path)), "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"},
    )  # fmt: skip
    return int(done.stdout.split()[-1])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(tmp_path):
    """Three million additional rows are 390 MB raw and 270 MB encoded; allowed are the per-row keys and some slack.

    Measured for twice the rows: 14 to 150 MB more, varying from run to run with the allocator.
    """
    write_log(tmp_path / "small", 1_000_000)
    write_log(tmp_path / "large", 4_000_000)
    grown = peak(tmp_path / "large") - peak(tmp_path / "small")
    assert grown < 300, f"{grown} MB more"
