"""Which looks were taken at a table's test rows: one file per table, one line per question that was asked.

A table is known by its labels and not by its split, its features or a setting: another seed draws other test rows of
the same table, and the first of twenty such draws to pass would prove nothing.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from feature_audit.noninferiority import look_confidence, percentage

log = logging.getLogger(__name__)

#: Folder of the working directory.
FOLDER = "test_looks"
#: Characters of a line that hold eight digits of its key.
_TELLS_APART = len('{"key": "') + 8


@dataclass(frozen=True)
class Look:
    """One reading of a table's test rows.

    Attributes:
        number: which one, counted from 1.
        planned: looks that were planned with the first one.
        confidence: of the audit, over all looks together.
        record: its line in the file.
    """

    number: int
    planned: int
    confidence: float
    record: str

    @property
    def judged_at(self) -> float:
        """Confidence of this look's intervals."""
        return look_confidence(self.confidence, self.number, self.planned)

    @property
    def next_judged_at(self) -> float:
        """Confidence of the intervals of another look."""
        return look_confidence(self.confidence, self.number + 1, self.planned)

    @property
    def sentence(self) -> str:
        """Why the confidence of the intervals differs from that of the audit; "" for a single look."""
        if self.number == self.planned == 1:
            return ""
        which = f"{self.number} of {self.planned} planned" if self.number <= self.planned > 1 else f"{self.number}"
        return (
            f"This is look {which} at these test rows. It is judged at {percentage(self.judged_at)}, so that all "
            f"looks together have a confidence of {percentage(self.confidence)}."
        )


def coming_look(work_dir: Path, family: str, asked: str, *, planned: int, confidence: float) -> Look:
    """The look that a question will be, before it is known how many trainings answer it; nothing is recorded.

    Args:
        work_dir, family, planned, confidence: as in ``take_look``.
        asked: digest of the question with the numbers of trainings as the configuration has them.
    """
    found = [_parsed(line) for line in _looks(_path(work_dir, family)).values()]
    before = [look["asked"] if look else "" for look in found]
    first = found[0] if found else {"planned": planned}
    return Look(
        number=before.index(asked) + 1 if asked in before else len(found) + 1,
        planned=first["planned"] if first else 1,
        confidence=confidence,
        record="",
    )


def take_look(work_dir: Path, family: str, key: str, *, planned: int, confidence: float, asked: str = "") -> Look:
    """Record a look at a table's test rows; the same question asked again is the look that it was.

    Two processes never get the same number: a line is appended in one piece, and its place in the file is the number.
    A line that cannot be read counts as a look of its own.

    Args:
        work_dir: of the audit.
        family: digest of the table's labels, ``Prepared.family``.
        key: digest of the question.
        planned: looks that the configuration plans; only the first look of a table can plan any.
        confidence: of the audit.
        asked: of ``coming_look``.
    """
    path = _path(work_dir, family)
    if key not in _looks(path):
        now = datetime.now(UTC).isoformat(timespec="seconds")
        _append(path, [json.dumps({"key": key, "planned": planned, "time": now, "asked": asked})])
    looks = _looks(path)
    keys = list(looks)
    first = _parsed(looks[keys[0]]) if keys else None
    look = Look(
        # A line of ours that somebody damaged meanwhile is one look, too: then this one comes after all.
        number=keys.index(key) + 1 if key in looks else len(keys) + 1,
        planned=first["planned"] if first else 1,
        confidence=confidence,
        record=looks.get(key, ""),
    )
    if planned != look.planned:
        log.warning(
            "parity: looks=%d has no effect: the first look at this table already planned %d",
            planned,
            look.planned,
        )
    return look


def learn_looks(work_dir: Path, family: str, records: Iterable[str]) -> None:
    """Add looks that were taken in other working directories.

    Args:
        work_dir: of the audit.
        family: digest of the table's labels.
        records: ``Look.record`` of each, the oldest first; what is known or cannot be read is left out.
    """
    path = _path(work_dir, family)
    known = _looks(path)
    _append(path, [line for line in records if (look := _parsed(line)) and look["key"] not in known])


def _path(work_dir: Path, family: str) -> Path:
    return work_dir / FOLDER / f"{family}.jsonl"


def _looks(path: Path) -> dict[str, str]:
    """Question -> its line, in order; an unreadable line counts as a separate question.

    Half of a line that stands there whole, too, is no other question: it was broken off, and then asked again.
    """
    found: dict[str, str] = {}
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    lines = list(filter(str.strip, text.split("\n")))
    whole = [line for line in lines if _parsed(line)]
    for place, line in enumerate(lines):
        look = _parsed(line)
        if look is None and any(_half(line, other) for other in whole):
            continue
        found.setdefault(look["key"] if look else f"unreadable {place}", line)
    return found


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        look = json.loads(line)
        planned = max(int(look.get("planned", 1)), 1)
        return {"key": str(look["key"]), "planned": planned, "asked": str(look.get("asked", ""))}
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _half(line: str, whole: str) -> bool:
    """Is it the beginning of a line, up to the time, which differs where a question was asked again?"""
    known = whole.partition(', "time"')[0]
    return len(line) > _TELLS_APART and (known.startswith(line) or line.startswith(known))


def _append(path: Path, lines: list[str]) -> None:
    """Add lines in one write, which no other process can come between."""
    if not lines:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        # The first line break keeps a half-written line of a killed process apart from ours.
        text = ("\n" + "\n".join(lines) + "\n").encode()
        if os.write(file, text) < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(file)
