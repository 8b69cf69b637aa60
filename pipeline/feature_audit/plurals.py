"""Counts with their nouns, as messages and report show them."""

from __future__ import annotations


def counted(value: int, noun: str, plural: str | None = None) -> str:
    """``1 feature``, ``1,200 features``.

    Args:
        value: the number, not negative.
        noun: what is counted, in the singular; a verb may follow, as in ``row is``.
        plural: the plural; None = the noun with an s.
    """
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"
