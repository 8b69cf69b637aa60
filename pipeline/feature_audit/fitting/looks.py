"""Records looks at a table's test rows: one file per table, one line per question.

A table is identified by its labels, not by its split, features or settings: another seed draws other test rows of the
same table, and if one of twenty such draws passed, that would prove nothing.
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

#: Folder in the working directory.
FOLDER = "test_looks"
#: Length of a line's beginning that includes eight digits of its key.
_TELLS_APART = len('{"key": "') + 8


@dataclass(frozen=True)
class Look:
    """One reading of a table's test rows.

    Attributes:
        number: number of the look, from 1.
        planned: number of looks planned with the first one.
        confidence: confidence of the audit, over all looks together.
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
        """Why the confidence of the intervals differs from the audit's; "" for a single look."""
        if self.number == self.planned == 1:
            return ""
        which = f"{self.number} of {self.planned} planned" if self.number <= self.planned > 1 else f"{self.number}"
        return (
            f"This is look {which} at these test rows. It is judged at {percentage(self.judged_at)}, so that all "
            f"looks together have a confidence of {percentage(self.confidence)}."
        )


def coming_look(work_dir: Path, family: str, asked: str, *, planned: int, confidence: float) -> Look:
    """The look that a question will be, before the numbers of trainings are known; nothing is recorded.

    Args:
        work_dir, family, planned, confidence: as in ``take_look``.
        asked: digest of the question, with the numbers of trainings as configured.
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
    """Record a look at a table's test rows; repeating a question returns the same look.

    Two processes never get the same number: a line is appended in a single write, and its position in the file is the
    number. An unreadable line counts as a separate look.

    Args:
        work_dir: working directory of the audit.
        family: digest of the table's labels, ``Prepared.family``.
        key: digest of the question.
        planned: number of looks that the configuration plans; only a table's first look can plan several.
        confidence: confidence of the audit.
        asked: as in ``coming_look``.
    """
    path = _path(work_dir, family)
    if key not in _looks(path):
        now = datetime.now(UTC).isoformat(timespec="seconds")
        _append(path, [json.dumps({"key": key, "planned": planned, "time": now, "asked": asked})])
    looks = _looks(path)
    keys = list(looks)
    first = _parsed(looks[keys[0]]) if keys else None
    look = Look(
        # If this process's line was damaged meanwhile, it counts as a look and this one comes last.
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
    """Add looks from other working directories.

    Args:
        work_dir: working directory of the audit.
        family: digest of the table's labels.
        records: ``Look.record`` of each, the oldest first; known and unreadable ones are skipped.
    """
    path = _path(work_dir, family)
    known = _looks(path)
    _append(path, [line for line in records if (look := _parsed(line)) and look["key"] not in known])


def _path(work_dir: Path, family: str) -> Path:
    return work_dir / FOLDER / f"{family}.jsonl"


def _looks(path: Path) -> dict[str, str]:
    """Question -> its line, in order; an unreadable line counts as a separate question.

    The first part of a line that also occurs in full is skipped: its write was interrupted, then repeated.
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
    """Whether ``line`` is the beginning of ``whole``, up to the time, which differs when a question is repeated."""
    known = whole.partition(', "time"')[0]
    return len(line) > _TELLS_APART and (known.startswith(line) or line.startswith(known))


def _append(path: Path, lines: list[str]) -> None:
    """Append lines in a single write, which other processes cannot interleave."""
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
