"""Number formatting: precision that fits the scale, a true minus sign, a unit, "n/a" for unknown values."""

from __future__ import annotations

import math

from feature_audit.results import MetricDelta

MINUS = "\N{MINUS SIGN}"
SPACE = "\N{NARROW NO-BREAK SPACE}"
UNKNOWN = "n/a"
MOST_DECIMALS = 8


def known(value: float | None) -> bool:
    """Whether the value is a finite number."""
    return value is not None and math.isfinite(value)


def plain(value: float | None, decimals: int) -> str:
    """``1,234.50``; negative numbers have a minus sign rather than a hyphen."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    text = f"{abs(value):,.{decimals}f}"
    # A value that rounds to zero has no sign, because "-0.000" would look like a loss.
    return MINUS + text if value < 0 and float(text.replace(",", "")) else text


def signed(value: float | None, decimals: int) -> str:
    """A difference: ``+0.0012``, ``−0.0004``, ``0.0000``."""
    text = plain(value, decimals)
    positive = value is not None and value > 0 and text != UNKNOWN and float(text.replace(",", ""))
    return f"+{text}" if positive else text


def count(value: float | None) -> str:
    """A whole number with thousands separators."""
    return plain(value, 0)


def percent(share: float | None, decimals: int = 0) -> str:
    """``0.95`` as ``95 %``."""
    return plain(share * 100, decimals) + SPACE + "%" if share is not None and known(share) else UNKNOWN


def confidence(share: float) -> str:
    """A confidence level without trailing zeros, with three digits of its distance from 100 %: ``97.5 %``."""
    if not known(share):
        return UNKNOWN
    lacking = 100 * (1 - share)
    decimals = max(1, 2 - math.floor(math.log10(lacking))) if lacking > 0 else 1
    return f"{share * 100:.{decimals}f}".rstrip("0").rstrip(".") + f"{SPACE}%"


def significant(value: float | None, digits: int = 3) -> str:
    """``digits`` significant digits, for scores of unknown scale."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if not -5 < exponent < 7:
        return f"{value:.{digits - 1}e}".replace("-", MINUS)
    return plain(value, max(0, digits - 1 - exponent))


def amount(value: float | None) -> str:
    """A cost in the user's unit: without decimals if it is whole or large, else with two."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == round(value) or abs(value) >= 10_000:
        return count(value)
    return plain(value, 2) if abs(value) >= 0.01 else significant(value, 2)


def total(value: float | None) -> str:
    """A sum of costs, rounded for readability."""
    return count(value) if value is not None and known(value) and abs(value) >= 100 else amount(value)


def size(value: float | None) -> str:
    """Bytes with three significant digits: ``0.25 B``, ``312 B``, ``4.21 kB``, ``3.2 MB``."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 999.5 or unit == "GB":
            break
        value /= 1000
    return significant(value) + SPACE + unit


def duration(seconds: float | None) -> str:
    """``0.8 s``, ``45 s``, ``12 min 5 s``, ``3 h 12 min``."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 9.95:
        return plain(seconds, 1) + SPACE + "s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{SPACE}s"
    if whole < 3600:
        return f"{whole // 60}{SPACE}min" + (f" {whole % 60}{SPACE}s" if whole % 60 else "")
    minutes = round(seconds / 60)
    return f"{minutes // 60:,}{SPACE}h" + (f" {minutes % 60}{SPACE}min" if minutes % 60 else "")


def margin(value: float | None) -> str:
    """A margin as written by the user, without padding zeros."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:.6f}".rstrip("0").rstrip(".") if abs(value) >= 1e-5 or value == 0 else significant(value, 2)


def limit(value: float | None) -> str:
    """The change that a margin still allows: ``−0.002``; for a margin of zero, ``0``."""
    return MINUS + margin(value) if value else margin(value)


def decimals_for(*scales: float | None) -> int:
    """Number of decimals that show two significant digits of the smallest of ``scales`` (2 to 8)."""
    positive = [abs(scale) for scale in scales if scale is not None and math.isfinite(scale) and scale != 0]
    if not positive:
        return 4
    return min(MOST_DECIMALS, max(2, 1 - math.floor(math.log10(min(positive)))))


def decimals_of(row: MetricDelta) -> int:
    """Decimals for one row, enough that rounding never moves an end of the interval onto or over the margin."""
    decimals = decimals_for(row.margin, row.ci_high - row.ci_low)
    if row.margin is None:
        return decimals
    for end in (row.ci_low, row.ci_high):
        while known(end) and end != -row.margin and decimals < MOST_DECIMALS:
            if round(end, decimals) != round(-row.margin, decimals):
                break
            decimals += 1
    return decimals
