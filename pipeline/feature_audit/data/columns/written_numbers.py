"""Formatted numbers: ``$1,234.50``, ``1 234,50 €``, ``37.5%``, ``1.2k``, ``(1,234)``, ``5 kg``.

Each column has one form: its decimal separator and the marks (currency, unit, factor) around the digits. The form is
detected on a sample of train and validation cells, stored in the encoder, and used for all later cells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from feature_audit.labels import NULL_WORDS

#: Letters that mean a factor if a column mixes them with each other or with plain numbers.
FACTORS = {"k": 1e3, "m": 1e6, "mn": 1e6, "b": 1e9, "bn": 1e9}
#: Currencies written as letters; any other word before a number makes it a label ("zone 3").
CURRENCIES = (
    "EUR|USD|GBP|CHF|SEK|NOK|DKK|PLN|CZK|HUF|RON|TRY|RUB|UAH|ILS|ZAR|INR|JPY|CNY|RMB|KRW|HKD|TWD|SGD|THB|IDR|MYR|PHP|VND|"
    "AUD|NZD|CAD|MXN|BRL|ARS|CLP|COP|PEN|AED|SAR|EGP|NGN|KES|Rs|kr|Kr|Fr|RM|Rp|zł|Kč|Ft"
)
_GROUPS = {".": r"\d{1,3}(?:,\d{2,3})*,\d{3}|\d{1,3}(?:[ '_]\d{3})+", ",": r"\d{1,3}(?:[. '_]\d{3})+"}
#: Number of words used for a quick rejection of other text before the whole sample is examined.
GLANCE = 500
#: A column of text with more different numbers than this, and at most so many other words, may be one of numbers.
_MANY_NUMBERS, _FEW_WORDS = 20, 3
#: Times of day and durations: 9:05, 14:35:10, 2:35 pm, 1 day 03:20:00, 02:03:04.5.
_CLOCK = (
    r"(?i)^\s*(?:(?<days>-?\d+)\s*days?,?\s*\+?)?(?<minus>-)?(?<high>\d{1,3}):(?<low>[0-5]\d)(?::(?<last>[0-5]\d(?:\.\d+)?))?"
    r"\s*(?:(?<half>[ap])\.?m\.?)?\s*$"
)
_SPACES = "[\u00a0\u202f\u2009\u2007]"
_MINUS = "[\u2212\u2013\ufe63\uff0d]"


@dataclass(frozen=True)
class Form:
    """How the numbers of one column are formatted.

    Attributes:
        decimal: ``.`` or ``,``; the other sign, spaces and apostrophes group digits. ``:`` for times of day and
            durations, in seconds; of two parts (14:35, 3:05) the second one counts as seconds unless am or pm follows.
        marks: text before (``$ |``) and after the digits (``| kg``) -> factor.
        ambiguous: the sample does not show whether commas group digits (1,234 = 1234) or are decimal.
    """

    decimal: str
    marks: Mapping[str, float]
    ambiguous: bool = False

    def expression(self, text: pl.Expr) -> pl.Expr:
        """Text -> Float64; null for cells that do not have this form."""
        if self.decimal == ":":
            return _seconds(text)
        parts = _parts(text, self.decimal).struct.field
        factor = parts("mark").replace_strict(
            list(self.marks), list(self.marks.values()), default=None, return_dtype=pl.Float64
        )
        plain = text.str.strip_chars().cast(pl.Float64, strict=False)
        return pl.coalesce(parts("number") * factor * parts("sign"), plain)

    def read(self, text: pl.Series) -> pl.Series:
        """The same for a series."""
        return text.to_frame("text").select(self.expression(pl.col("text"))).to_series().rename(text.name)

    def state(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"decimal": self.decimal, "marks": dict(self.marks)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Form:
        """Restore a form from ``state()``."""
        return cls(state["decimal"], state["marks"])


#: The form of times of day and durations.
CLOCK = Form(":", {})


def held_words(cells: pl.Series) -> pl.Series:
    """Non-missing cells of a text column, stripped."""
    words = cells.cast(pl.String).drop_nulls().str.strip_chars()
    return words.filter(~words.is_in(["", *NULL_WORDS]))


def find_form(words: pl.Series, least: float) -> Form | None:
    """The form in which at least this share of the words are numbers; None if there is none, or all are plain numbers.

    If a sign could be either (``1,234`` in every cell), a comma groups digits and a point is decimal.

    Args:
        words: text without nulls and words for null.
        least: share in (0, 1].
    """
    for part, share in ((words.head(GLANCE), least / 2), (words, least)):
        if CLOCK.read(part).count() < max(1, share * len(part)):
            break
    else:
        return CLOCK
    plain = words.str.strip_chars().cast(pl.Float64, strict=False).count()
    if plain == len(words) or _best_form(words.head(GLANCE), least / 2) is None:
        return None
    found = _best_form(words, least)
    if found is None or found[1] == plain or _is_list(words, found[0]):
        return None
    form = found[0]
    commas = words.str.count_matches(",")
    unsure = form.decimal == "." and commas.max() == 1 and not words.str.contains(r"\d[. '’]\d|\d{4},|^\D*0,").any()
    return Form(form.decimal, form.marks, unsure)


def _seconds(text: pl.Expr) -> pl.Expr:
    """Times of day and durations as Float64 seconds; null for other text."""
    part = text.str.extract_groups(_CLOCK).struct.field
    high, low, last = (part(name).cast(pl.Float64) for name in ("high", "low", "last"))
    half = part("half").str.to_lowercase()
    high = pl.when(half.is_null()).then(high).when(half == "p").then(high % 12 + 12).otherwise(high % 12)
    since = (
        pl.when(last.is_null() & half.is_null())
        .then(high * 60 + low)
        .otherwise(high * 3600 + low * 60 + last.fill_null(0))
    )
    since = pl.when(part("minus").is_null()).then(since).otherwise(-since)
    return since + part("days").cast(pl.Float64).fill_null(0) * 86_400


def _best_form(words: pl.Series, least: float) -> tuple[Form, int] | None:
    """The form that parses most words (decimal point before comma) and how many; None if below the required share."""
    best: tuple[Form, int] | None = None
    for decimal in (".", ","):
        marks = _marks(_marks_seen(words, decimal))
        if marks is not None:
            form = Form(decimal, marks)
            read = form.read(words).count()
            if read >= least * len(words) and (best is None or read > best[1]):
                best = form, read
    return best


def units_of(words: pl.Series) -> list[str]:
    """The units of numbers in several units, such as kg and g; empty for other text."""
    if not len(_marks_seen(words.head(GLANCE), ".")):
        return []
    marks = _marks_seen(words, ".")
    units = sorted({_unit(mark)[1] for mark in marks.unique().to_list()} - {""})
    return units if 1 < len(units) <= 12 and len(marks) == len(words) else []


def words_among_numbers(words: pl.Series) -> tuple[float, list[str]]:
    """The share of numbers among the words of a column of text, and its other words; (0, []) for other columns.

    Such a column has many different numbers, at least half of its cells, and a few other words ("unknown", "k.A.").
    """
    if not len(words) or words.str.contains(r"^0\d+$").any():  # codes with leading zeros
        return 0.0, []
    form = find_form(words, 0.5)
    number = (words.cast(pl.Float64, strict=False) if form is None else form.read(words)).is_not_null()
    share, others = int(number.sum()) / len(words), words.filter(~number).unique().sort()
    if share < 0.5 or words.filter(number).n_unique() <= _MANY_NUMBERS or not 0 < len(others) <= _FEW_WORDS:
        return 0.0, []
    return share, others.to_list()


def _marks_seen(words: pl.Series, decimal: str) -> pl.Series:
    found = words.to_frame("text").select(_parts(pl.col("text"), decimal).struct.field("mark"))
    return found.to_series().drop_nulls()


def _parts(text: pl.Expr, decimal: str) -> pl.Expr:
    """A struct: ``number`` without sign, ``sign`` +-1, ``mark``; null if the text is not a number of this form."""
    clean = text.str.replace_all(_SPACES, " ").str.replace_all(_MINUS, "-").str.replace_all("[’‘´`]", "'")
    pattern = (
        r"^\s*(?<open>\()?(?<s1>[-+]?)\s*(?<before>(?:[A-Z]{0,3}\p{Sc}|(?:" + CURRENCIES + r")\b\.?)?)"
        r"\s*(?<s2>[-+]?)\s*"
        r"(?<whole>" + _GROUPS[decimal] + r"|\d+)?(?:" + re.escape(decimal) + r"(?<part>\d+))?"
        r"\s*(?<after>(?:[%‰°\p{Sc}\p{L}µ/²³\"]{1,12}\.?(?:\s\p{L}{1,4}|\s?\p{Sc})?)?)\s*(?<s3>-?)(?<close>\))?\s*$"
    )
    field = clean.str.extract_groups(pattern).struct.field
    empty = (field("whole").fill_null("") + field("part").fill_null("")) == ""
    brackets = field("open").is_not_null().cast(pl.Int8) + field("close").is_not_null().cast(pl.Int8)
    signs = field("s1").fill_null("") + field("s2").fill_null("") + field("s3").fill_null("")
    good = ~empty & (brackets != 1) & (signs.str.len_chars() <= 1) & ~((brackets == 2) & (signs != ""))
    digits = field("whole").fill_null("0").str.replace_all(r"[^\d]", "") + "." + field("part").fill_null("0")
    return pl.struct(
        pl.when(good).then(digits.cast(pl.Float64, strict=False)).alias("number"),
        pl.when((brackets == 2) | (signs == "-")).then(-1.0).otherwise(1.0).alias("sign"),
        pl.when(good).then(field("before").fill_null("") + "|" + field("after").fill_null("")).alias("mark"),
    )


def _marks(seen: pl.Series) -> dict[str, float] | None:
    """Mark -> factor for the marks of a sample; None if they mix several units or are too many to be units."""
    marks = seen.unique().sort().to_list()
    split = {mark: _unit(mark) for mark in marks}
    letters = {factor for factor, _ in split.values()}
    scaled = len(letters) > 1
    if not scaled:  # a letter on every number is a unit, such as metres or bytes
        one_unit = marks and len({unit for _, unit in split.values()} - {""}) <= 1
        return dict.fromkeys((*marks, "|"), 1.0) if one_unit else None
    if len({unit for _, unit in split.values()}) > 1:
        return None
    known = {mark: FACTORS.get(factor.casefold(), 1.0) for mark, (factor, _) in split.items()}
    for mark, (factor, _) in split.items():  # rare factors may be missing from the sample
        if not factor:
            before, after = mark.split("|")
            known |= {
                f"{before}|{letter}{after}": scale
                for one, scale in FACTORS.items()
                for letter in (one, one.upper(), one.capitalize())
            }
    return known


def _unit(mark: str) -> tuple[str, str]:
    """(factor letter or "", unit or "") of one mark; "days" and "Day" are the same unit, and so are "Rs." and "Rs"."""
    before, after = (part.strip().rstrip(".") for part in mark.split("|"))
    found = re.match(r"(?i)(k|mn|m|bn|b)(?=$|\s|[^\w%/²³\".])", after)
    factor = found.group(1) if found else ""
    unit = f"{before} {after[len(factor) :].strip()}".strip().casefold()
    return factor, unit.removesuffix("s") if len(unit) > 3 else unit


def _is_list(words: pl.Series, form: Form) -> bool:
    """True for lists of three-digit codes, which resemble grouped digits: first group always full, lengths vary."""
    sign = "," if form.decimal == "." else r"\."
    grouped = words.filter(words.str.contains(rf"^\d{{1,3}}(?:(?:{sign}|\s)\d{{3}})+$"))
    if not len(grouped) or not grouped.str.contains(r"^\d{3}\D").all():
        return False
    return grouped.str.count_matches(r"\D").n_unique() > 1
