"""Datetimes written as text or as numbers: detecting a column's format and parsing its cells.

A format is a strptime pattern or one of ``UNITS``. A pattern that ends in ``%z`` accepts any notation of a zone after a
clock time (``Z``, `` UTC``, ``+02``, ``+0200``, ``+02:00``, then optionally ``[Europe/Berlin]``). Such datetimes are
converted to UTC; a cell without a zone is taken as UTC.
"""

from __future__ import annotations

import itertools

import polars as pl

#: Share of cells that must match a format; the others count as missing and are reported.
MOST = 0.995
_DAYS = ("%Y/%m/%d", "%Y.%m.%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%d-%b-%Y", "%d-%b-%y",
         "%d %B %Y", "%B %d, %Y", "%B %d %Y", "%a, %d %b %Y", "%d-%m-%y", "%m/%d/%y", "%d/%m/%y", "%Y%m%d",
         )  # fmt: skip
_CLOCKS = (" %H:%M:%S", " %H:%M:%S%.f", " %H:%M", " %I:%M:%S %p", " %I:%M %p")
#: Formats of text, in order of preference; the first that fits is used.
TEXT_FORMATS = (
    "%Y-%m-%d",
    *(f"%Y-%m-%d{clock}" for clock in (*_CLOCKS, " %H:%M:%S,%3f")),
    *(f"%Y-%m-%d{clock.replace(' ', 'T', 1)}" for clock in (*_CLOCKS, " %H:%M:%S,%3f")),
    *(f"{day}{clock}" for day, clock in itertools.product(_DAYS, ("", *_CLOCKS)) if day + clock != "%Y%m%d"),
    "%d/%b/%Y:%H:%M:%S",
    "%Y%m%dT%H%M%S",
    "%Y%m%dT%H%M%SZ",
    "%a %b %d %H:%M:%S %z %Y",
    "%Y-%m",
)
#: Formats of whole numbers and of text of digits, with their number of digits.
NUMBER_FORMATS = {
    "%Y%m%d": 8, "%Y%m%d%H": 10, "%Y%m%d%H%M": 12, "%Y%m%d%H%M%S": 14, "%Y%m%d%H%M%S%3f": 17, "%d%m%Y": 8,
    "%m%d%Y": 8, "%y%m%d%H": 8, "%y%m%d%H%M": 10, "%y%m%d%H%M%S": 12, "%Y%m": 6, "%y%m%d": 6,
}  # fmt: skip
#: Number formats recognised without the user's declaration, given some distinct days: few other numbers fit them.
_DISTINCTIVE = (
    "%Y%m%d", "%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S", "%Y%m%d%H%M%S%3f", "%d%m%Y", "%m%d%Y", "%y%m%d%H",
)  # fmt: skip
_ENOUGH_DAYS = 5
#: Minimum share of positive numbers in a column of datetimes; 0 and -1 often mean missing.
MOST_FILLED = 0.5
#: Numbers counted from an epoch: unit in microseconds, smallest and largest plausible value.
UNITS = {
    "epoch seconds": (1e6, 1e8, 1e11),
    "epoch milliseconds": (1e3, 1e11, 1e14),
    "epoch microseconds": (1.0, 1e14, 1e17),
    "epoch nanoseconds": (1e-3, 1e17, 1e20),
    "days since 1970": (86_400e6, 3_650, 25_000),
    "Excel days": (86_400e6, 25_569, 80_000),
}
_EXCEL_1970 = 25_569
_ZONE = (
    r"(:\d{2}(?:[.,]\d+)?(?:\s?[AaPp][Mm])?)\s*(Z|z|(?:UTC|GMT)(?:[+-]\d{1,2}(?::?\d{2})?)?|[+-]\d{2}(?::?\d{2})?)"
    r"(?:\s*[\[(][^\])]*[\])])?$"
)


def is_date(cell: pl.Expr, pattern: str) -> pl.Expr:
    """True if text is a datetime of this format in a plausible year (1.2.3 is a version, not a day)."""
    return text_moment(cell, pattern).dt.year().is_between(1800, 2300)


def text_moment(cell: pl.Expr, pattern: str) -> pl.Expr:
    """Text as Datetime(us) without a zone (UTC if it names one); null if it does not match."""
    if pattern.endswith("%z"):
        zone = cell.str.extract(_ZONE, 2)
        hours = zone.str.extract(r"([+-]\d{1,2})", 1)
        minutes = zone.str.extract(r"[+-]\d{1,2}:?(\d{2})", 1).cast(pl.Int64).fill_null(0)
        west = pl.when(hours.str.starts_with("-")).then(-1).otherwise(1)
        offset = (hours.cast(pl.Int64) * 60 + west * minutes).fill_null(0)
        return text_moment(cell.str.replace(_ZONE, "${1}"), pattern[:-2]) - pl.duration(minutes=offset)
    if pattern.endswith("%H"):  # Polars requires minutes after hours
        cell, pattern = cell + "00", pattern + "%M"
    if pattern.endswith("%m"):  # and a day after months
        cell, pattern = cell + "-01", pattern + "-%d"
    moment = cell.str.to_datetime(pattern, strict=False, time_unit="us")
    return moment.dt.replace_time_zone(None) if "%z" in pattern else moment


def number_moment(number: pl.Expr, pattern: str) -> pl.Expr:
    """Numbers as Datetime(us); null if they do not match."""
    if pattern not in UNITS:
        width = NUMBER_FORMATS.get(pattern, 0)
        digits = number.cast(pl.Int64, strict=False).cast(pl.String)
        padded = digits.str.zfill(width) if not pattern.startswith("%Y") else digits  # 1102014 is 01.10.2014
        return text_moment(pl.when(padded.str.len_chars() == width).then(padded), pattern)
    unit = UNITS[pattern][0]
    if unit < 1:  # integer arithmetic: nanoseconds exceed float precision
        return (number.cast(pl.Int64, strict=False) // round(1 / unit)).cast(pl.Datetime("us"))
    since = number.cast(pl.Float64, strict=False).fill_nan(None) - (_EXCEL_1970 if pattern == "Excel days" else 0)
    return (since * unit).round().cast(pl.Int64, strict=False).cast(pl.Datetime("us"))


def likely_formats(words: pl.Series, least: float = MOST) -> tuple[str, ...]:
    """The formats of ``TEXT_FORMATS`` that match at least a share of the words, in order of preference.

    Args:
        words: text without nulls, stripped.
        least: share of the words; 0 = one word is enough.
    """
    first = words.head(100)
    if not len(words) or first.str.contains(r"\d.*[-/. :T].*\d").sum() < max(1, least * len(first)):
        return ()
    zoned = bool(first.str.contains(_ZONE).any())
    formats = [form if "%z" in form else form + "%z" for form in TEXT_FORMATS if ":" in form] if zoned else TEXT_FORMATS
    likely = [form for form in formats if _fits(first, form, least)]
    if words.str.contains(r"^0?1[/-]").all() and words.str.extract(r"(\d{4})").n_unique() > 1:
        likely.sort(key=lambda form: form.startswith("%m"))  # the first days of months, not Januaries of several years
    return tuple(form for form in likely if len(words) == len(first) or _fits(words, form, least))


def other_order(form: str) -> str | None:
    """The format with day and month in the other order, if the two can be mistaken for each other."""
    swapped = form.replace("%d", "%_").replace("%m", "%d").replace("%_", "%m")
    return swapped if swapped in TEXT_FORMATS and swapped != form else None


def _fits(words: pl.Series, form: str, least: float) -> bool:
    return int(pl.select(is_date(pl.lit(words), form).sum()).item()) >= max(1, least * len(words))


def number_format(numbers: pl.Series, *, asked: bool) -> str | None:
    """The format of (nearly) all numbers of a sample, or None.

    Args:
        numbers: numbers, or text of digits; null, 0 and below count as missing.
        asked: the user declared the column a datetime, so any format is accepted; otherwise only distinctive formats
            with some distinct days.
    """
    value = numbers.cast(pl.Float64, strict=False).fill_nan(None)
    held = numbers.filter((value > 0).fill_null(False))
    if not len(held) or len(held) < MOST_FILLED * value.count():
        return None
    frame = held.alias("cell").to_frame().with_columns(number=pl.col("cell").cast(pl.Float64, strict=False))
    if not (frame["number"] % 1 == 0).all():
        return _unit(frame["number"]) if asked else None
    for form in NUMBER_FORMATS if asked else _DISTINCTIVE:
        moments = frame.select(number_moment(pl.col("cell"), form)).to_series()
        fit = moments.dt.year().is_between(1900, 2100).sum() or 0
        if fit < MOST * len(held) or (not asked and moments.dt.date().n_unique() < _ENOUGH_DAYS):
            continue
        if form.endswith("%Y") and moments.dt.day().n_unique() < 2:  # 14102000 to 14102023 are the hours of one day
            continue
        return form
    return _unit(frame["number"]) if asked else None


def _unit(numbers: pl.Series) -> str | None:
    """The unit in which (nearly) all numbers are plausible dates."""
    for name, (_, low, high) in UNITS.items():
        if numbers.is_between(low, high).sum() >= MOST * len(numbers):
            return name
    return None
