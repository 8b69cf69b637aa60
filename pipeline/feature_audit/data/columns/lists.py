"""Lists written as text in one cell: how they are detected and split.

A *list format* is a string, so that encoders can store it: the separator (``|``), in brackets if the cells have them
(``[,]``), and after ``:w`` if every entry has a weight (``:w|`` for ``sport:0.8|news:0.1``; weights are ignored).
Detection uses the parts: in lists, they repeat over the rows as a small vocabulary, and a part occurs first in some
cells and at other positions elsewhere. Parts of "Smith, John", of addresses, of URLs and of paths such as "a > b > c"
have fixed positions, and words of free text do not repeat enough.
"""

from __future__ import annotations

import re

import polars as pl

#: Separators that rarely occur in plain text, in order of preference.
STRONG = ("|", ";", "^", "~", "\t", "::", "\x01", "\x02")
#: Separators that also occur in plain text. All but the comma also separate words and parts of codes.
WEAK = (",", "/", "&", "#", "$", "@", "+", "_", "-", " ")
#: Maximum number of cells examined.
SAMPLE = 5_000
_SOME = 0.2  # share of the cells that must have several parts
_BRACKETED = r"(?s)^\s*[\[({](.*)[\])}]\s*$"
_WEIGHT = r"\s*[:=^]\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*$"
_KEYED_WEIGHT = r"""(["'])\s*:\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"""
_GROUPED_DIGITS = r"^[^\d,]{0,4}\d{1,3}(,\d{2,3}){0,2},\d{3}(\.\d*)?[^\d,]{0,4}$"
_VECTOR = r"^[\[({]?\s*[-+]?(?:\d+\.?\d*|\.\d+)([eE][-+]?\d+)?([,;|\s]+[-+]?\d*\.?\d*([eE][-+]?\d+)?)+\s*[\])}]?$"
_FRACTION = r"^[-+]?(?:\d+\.\d*|\.\d+)([eE][-+]?\d+)?$"


def split(cells: pl.Series, form: str) -> pl.Series:
    """Split text cells into lists by a list format; strips white space and quotes, and removes empty parts."""
    bracketed = len(form) > 2 and form[0] == "[" and form[-1] == "]"
    inner = form[1:-1] if bracketed else form
    weighted = len(inner) > 2 and inner.startswith(":w")
    separator = inner[2:] if weighted else inner
    cell, part = pl.col("cell"), pl.element().str.strip_chars()
    if bracketed:
        cell = cell.str.replace(_BRACKETED, "${1}").str.strip_chars()
        if weighted:
            cell = cell.str.replace_all(_KEYED_WEIGHT, "${1}")
        # Separators inside quotes are ignored.
        quoted = cell.str.contains('"', literal=True) | cell.str.starts_with("'")
        token = rf'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|[^"{re.escape(separator)}]+'
        parts = pl.when(quoted).then(cell.str.extract_all(token)).otherwise(cell.str.split(separator))
    else:
        parts = cell.str.split(separator)
    if weighted:
        part = part.str.replace(_WEIGHT, "")
    if bracketed:
        part = part.str.replace(r"""(?s)^(?:"(.*)"|'(.*)')$""", "${1}${2}")
    made = (
        cells.alias("cell").to_frame().select(parts.list.eval(part).list.eval(pl.element().filter(pl.element() != "")))
    )
    return made.to_series().alias(cells.name)


def list_format(text: pl.Series, separator: str | None = None) -> str | None:
    """The format of lists written as text, or None for plain text.

    Args:
        text: cells; nulls are ignored.
        separator: set by the user; all cells are then lists, and only brackets and weights are detected.
    """
    held = text.drop_nulls().str.strip_chars()
    held = held.filter(held != "").head(SAMPLE)
    if not len(held):
        return separator
    bracketed = _share(held.str.contains(_BRACKETED)) >= 0.95
    if separator is not None:
        return _with_weights(held, f"[{separator}]" if bracketed else separator)
    if bracketed:
        return _bracketed_format(held)
    for sign in (*STRONG, *WEAK):
        if _share(held.str.contains(sign, literal=True)) < _SOME:
            continue
        form = _with_weights(held, sign)
        if _are_lists(held, split(held, form), sign):
            return form
    return None


def split_numbers(cells: pl.Series) -> pl.Series:
    """Split numeric vectors written as text, such as ``[0.5, 1]`` or ``0.5|1``; parts that are not numbers become null.

    Raises:
        ValueError: no cell contains a number.
    """
    inner = cells.str.replace(_BRACKETED, "${1}").str.replace_all(r"[,;|\s]+", " ").str.strip_chars()
    lists = inner.str.split(" ").cast(pl.List(pl.Float64), strict=False)
    if cells.count() and not lists.explode().count():
        raise ValueError("it contains no numbers")
    return lists


def is_vector(text: pl.Series, *, any_numbers: bool = False) -> bool:
    """True for text with equally many numbers in every cell, most of them with a decimal point at every position.

    Args:
        text: cells; nulls are ignored.
        any_numbers: accept any numbers, regardless of their count and format.
    """
    held = text.drop_nulls().str.strip_chars().head(SAMPLE)
    if not len(held) or _share(held.str.contains(_GROUPED_DIGITS)) > 0.5 or not held.str.contains(_VECTOR).all():
        return False
    if any_numbers:
        return True
    parts = held.str.extract_all(r"[^\s,;|\[\](){}]+")
    widths = parts.list.len().unique().to_list()
    if len(widths) > 1 or widths[0] == 1:
        return False
    places = (parts.list.get(place) for place in range(widths[0]))
    return all(_share(place.str.contains(_FRACTION)) >= 0.5 for place in places)


def fallback_format(text: pl.Series) -> str:
    """The format of a column that the user declared a list but ``list_format`` rejects: its top separator."""
    held = text.drop_nulls().head(SAMPLE)
    bracketed = _share(held.str.contains(_BRACKETED)) >= 0.95
    sign = max(("|", ";", "^", ",", " "), key=lambda sign: held.str.contains(sign, literal=True).sum())
    return _with_weights(held, f"[{sign}]" if bracketed else sign)


def are_fractions(lists: pl.Series) -> bool:
    """True if (nearly) all entries are numbers, most of them with a decimal point."""
    parts = lists.drop_nulls().list.explode(empty_as_null=False)
    numbers = parts.cast(pl.Float64, strict=False).count()
    return len(parts) > 0 and numbers >= 0.99 * len(parts) and parts.str.contains(_FRACTION).sum() >= 0.5 * len(parts)


def _share(hits: pl.Series) -> float:
    return float((hits.sum() or 0) / max(len(hits), 1))


def _bracketed_format(held: pl.Series) -> str | None:
    """The format of cells in brackets; None for objects, nested lists, and cells that do not vary as lists do."""
    inner = held.str.replace(_BRACKETED, "${1}")
    bare = inner.str.replace_all(r'"[^"]*"', "").str.replace_all(r"'[^']*'", "")
    if _share(bare.str.contains(r"[\[{]")) > 0.05:
        return None
    if _share(inner.str.contains(r"""^\s*["'][^"']*["']\s*:""")) >= 0.5:
        left = inner.str.replace_all(_KEYED_WEIGHT, "${1}").str.replace_all(r"""["'][^"']*["']""", "")
        return "[:w,]" if not left.str.contains(":", literal=True).any() else None
    filled = inner.filter(inner.str.strip_chars() != "")
    if len(filled) and _share(filled.str.contains(r"""^\s*["'].*["']\s*$""")) >= 0.95:
        return "[,]"
    for sign in (",", ";", "|", " "):
        form = _with_weights(held, f"[{sign}]")
        lists = split(held, form)
        several = _share(lists.list.len() >= 2) >= _SOME / 4
        if several and (are_fractions(lists) or _combine(held, lists)):
            return form
    return None


def _with_weights(held: pl.Series, form: str) -> str:
    """The format, with ``:w`` if nearly every part ends in a weight: a number after ``:``, ``=`` or ``^``.

    Counts (``item:3``) are weights only if the parts would not repeat with them.
    """
    parts = split(held, form).list.explode(empty_as_null=False)
    weights = parts.str.extract(f"({_WEIGHT})", 1).drop_nulls()
    if not len(parts) or len(weights) < 0.95 * len(parts):
        return form
    if _share(parts.str.contains(r"^\d{1,2}(:\d{2}){1,2}$")) > 0.5:  # times of day
        return form
    fractions = _share(weights.str.contains(".", literal=True)) >= 0.2
    if not fractions and parts.n_unique() < 0.5 * len(parts):
        return form
    return f"[:w{form[1:-1]}]" if len(form) > 2 and form[0] == "[" else f":w{form}"


def _are_lists(held: pl.Series, lists: pl.Series, sign: str) -> bool:
    """Whether the parts look like list entries rather than parts of one text."""
    lengths = lists.list.len()
    parts = lists.list.explode(empty_as_null=False)
    if _share(lengths >= 2) < _SOME or _cut_in_brackets(parts):
        return False
    repeat = parts.n_unique() < (0.8 if _are_codes(parts) else 0.5) * len(parts)
    if sign in STRONG:
        return repeat or parts.n_unique() <= 100 or are_fractions(lists)
    return _vary_as_lists(held, lengths, parts, sign) and (
        are_fractions(lists) or (repeat and _combine(held, lists) and _mixed(lists) and (sign == "," or _closed(parts)))
    )


def _vary_as_lists(held: pl.Series, lengths: pl.Series, parts: pl.Series, sign: str) -> bool:
    """False for numbers with a comma (``12,000``, ``12,5``) and for text with a constant number of words."""
    if sign == "," and _share(held.filter(lengths >= 2).str.contains(_GROUPED_DIGITS)) > 0.9:
        return False
    long = _share(lengths >= 3) >= 0.05
    varied = lengths.n_unique() > 1
    whole = _share(parts.str.contains(r"^\d+$")) >= 0.9
    return (varied and (long or not whole)) or (long and sign == ",")


def _cut_in_brackets(parts: pl.Series) -> bool:
    """True if the separator occurs inside brackets, as in user agents."""
    uneven = parts.str.count_matches("(", literal=True) != parts.str.count_matches(")", literal=True)
    return _share(uneven) > 0.02


def _combine(held: pl.Series, lists: pl.Series) -> bool:
    """True if few parts make up many cells; category names have distinct parts."""
    cells = held.n_unique()
    return cells > lists.list.explode(empty_as_null=False).n_unique() or cells >= 0.5 * len(held)


def _mixed(lists: pl.Series) -> bool:
    """True if most parts that occur first also occur at other positions, and likewise for last parts."""
    frame = lists.filter(lists.list.len() >= 2).alias("part").to_frame().with_row_index("row")
    frame = frame.explode("part").with_columns(
        first=pl.int_range(pl.len()).over("row") == 0,
        last=pl.int_range(pl.len(), 0, -1, eager=False).over("row") == 1,
    )
    counts = frame.group_by("part").agg(pl.len().alias("all"), pl.col("first", "last").sum()).filter(pl.col("all") > 1)
    for place in ("first", "last"):
        here = pl.col(place)
        elsewhere = (pl.col("all") - here) >= (0.2 * here).clip(lower_bound=1)
        share = counts.select(here.filter(elsewhere).sum() / here.sum()).item()
        if share is None or not share >= 0.5:
            return False
    return True


def _closed(parts: pl.Series) -> bool:
    """True if the parts are a closed vocabulary, or codes; in free text, half of the words occur only once."""
    return _are_codes(parts) or _share(parts.value_counts()["count"] == 1) <= 0.2


def _are_codes(parts: pl.Series) -> bool:
    return _share(parts.str.contains(r"\d")) >= 0.9
