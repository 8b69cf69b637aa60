"""Results as JSON lines: written one by one, and read back for a report or to continue an interrupted run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True)
class Key:
    """What records must have in common to appear in one report.

    Attributes:
        code: hash of the sources that the figures depend on.
        budget: name of the protocol's budget.
    """

    code: str
    budget: str

    def holds(self, record: Record) -> bool:
        return record["code"] == self.code and record["budget"] == self.budget


class Results:
    """Records of one file, old ones and new ones.

    Args:
        path: file of JSON lines; None keeps records in memory.
        stamp: fields added to every new record: ``code``, ``commit``, ``budget``.
    """

    def __init__(self, path: Path | None, stamp: dict[str, str]) -> None:
        self.path, self.stamp = path, stamp
        self.records: list[Record] = [] if path is None or not path.is_file() else read(path)

    def add(self, record: Record) -> None:
        """Append a record with a single write, so that several processes may share the file."""
        record = {**self.stamp, **record}
        self.records.append(record)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")

    def has(self, **wanted: Any) -> bool:
        """Whether a record of this stamp's code and budget has these values."""
        return bool(self.find(**wanted))

    def find(self, **wanted: Any) -> list[Record]:
        """Records of this stamp's code and budget with these values."""
        key = Key(self.stamp["code"], self.stamp["budget"])
        return [r for r in self.records if key.holds(r) and all(r.get(name) == v for name, v in wanted.items())]


def read(path: Path) -> list[Record]:
    """All records of a file; a last line that was truncated when the process was killed is left out.

    Raises:
        ValueError: a line is not a record.
    """
    records = []
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            if number == len(lines):
                continue
            raise ValueError(f"{path}, line {number}: no JSON; delete the line or give another file") from None
        if not isinstance(record, dict) or not {"code", "budget", "kind"} <= record.keys():
            raise ValueError(f"{path}, line {number}: no record of this benchmark; give another file")
        records.append(record)
    return records


def pick(records: Iterable[Record], *, code: str | None, budget: str) -> tuple[list[Record], str]:
    """Records of one code version and budget, and a line about the excluded ones.

    Args:
        records: all records of a file.
        code: version to report; None = that of the last record of this budget.
        budget: budget to report.

    Raises:
        ValueError: no record matches.
    """
    records = list(records)
    of_budget = [record for record in records if record["budget"] == budget]
    if code is None and of_budget:
        code = of_budget[-1]["code"]
    chosen = [record for record in of_budget if record["code"] == code]
    counts = Counter((r["code"], r["budget"]) for r in records)
    held = ", ".join(f"{c} ({b}): {n}" for (c, b), n in counts.items()) or "none"
    if not chosen:
        raise ValueError(f"no records of code {code} and budget {budget}; the file holds {held}")
    left_out = len(records) - len(chosen)
    commits = ", ".join(sorted({str(record["commit"]) for record in chosen}))
    note = f"Code {code} (commit {commits}), budget {budget}, {len(chosen)} records"
    return chosen, note + (f"; {left_out} of other versions or budgets left out." if left_out else ".")
