"""Compares the age of the data on which two versions were audited, according to their tags."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

#: Version tag: latest time in the audited log, as ISO text or as a number of the time column.
DATA_UNTIL = "audit.data_until"


def older(wanted: Any, current: Any) -> str | None:
    """Why ``wanted`` was audited on older data than ``current``, both as MLflow versions; None = it was not.

    The latest times of both logs decide. If one is missing, or one is a date and the other a number, the earlier audit
    counts as the older one, unless both used the same data.
    """
    name = f"version {current.version}, which is in production,"
    until, other = wanted.tags.get(DATA_UNTIL), current.tags.get(DATA_UNTIL)
    moments = _moment(until), _moment(other)
    if moments[0] is not None and moments[1] is not None and moments[0][0] == moments[1][0]:
        if moments[0] >= moments[1]:
            return None
        return f"its data ends at {until}, but that of {name} ends at {other}; audit newer data"
    digest = wanted.tags.get("audit.data_digest")
    if digest and digest == current.tags.get("audit.data_digest"):
        return None
    if wanted.creation_timestamp >= current.creation_timestamp:
        return None
    return (
        f"{name} was audited later ({_day(current)}, this one {_day(wanted)}), and it is unknown whose data is newer; "
        "audit newer data"
    )


def _moment(text: str | None) -> tuple[str, float] | None:
    """Kind of a tag's time, and a number for ordering."""
    if not text:
        return None
    try:
        return "number", float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return "date", (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _day(version: Any) -> str:
    return datetime.fromtimestamp(version.creation_timestamp / 1000, tz=UTC).isoformat(sep=" ", timespec="minutes")[:16]
