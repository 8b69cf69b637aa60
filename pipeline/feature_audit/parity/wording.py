"""The verdict in one plain sentence."""

from __future__ import annotations

from feature_audit.results import MetricDelta, Verdict

_TITLES = {
    "auc": "AUC",
    "gauc": "GAUC",
    "ndcg": "NDCG@10",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
    "normalised_entropy": "normalised entropy",
}


def title(metric: str) -> str:
    """How people write the metric."""
    return _TITLES.get(metric, metric.upper() if metric.startswith("ndcg") else metric)


def sentence(
    row: MetricDelta,
    verdict: Verdict,
    failed: list[MetricDelta],
    *,
    confidence: float,
    seeds: tuple[int, int],
    unit_name: str | None,
) -> str:
    """What the verdict says, with its numbers.

    Args:
        row: the decision row.
        verdict: of the whole audit.
        failed: guards that failed.
        confidence: of the interval.
        seeds: pruned and baseline trainings.
        unit_name: what was resampled; None = rows.
    """
    digits = _digits(row.margin or row.delta)
    number = f"{{:.{digits}f}}"
    who = f"{row.rows:,} test rows" + (f" of {row.units:,} {unit_name}" if unit_name else "")
    trained = f"{seeds[0]} retraining{'s' if seeds[0] > 1 else ''}"
    direction = "better" if row.delta >= 0 else "worse"
    estimate = (
        f"{title(row.metric)} is {number.format(abs(row.delta))} {direction} than the full model's "
        f"({confidence:.0%} interval {_signed(row.ci_low, digits)} to {_signed(row.ci_high, digits)}, "
        f"{trained}, {who})"
    )
    margin = number.format(row.margin or 0)
    if failed and row.verdict != "fail":
        names = ", ".join(
            f"{title(one.metric)} in {one.slice}" if one.slice != "all" else title(one.metric) for one in failed
        )
        return f"Fail: the pruned model loses more than its margin on {names}; its {estimate}."
    closing = {
        "pass": f"Pass: the pruned model's {estimate}: a loss of {margin} or more is ruled out",
        "fail": f"Fail: the pruned model's {estimate}: it loses more than the margin of {margin}",
        "inconclusive": f"Inconclusive: the pruned model's {estimate}: a loss of {margin} is not ruled out",
    }.get(verdict, f"The pruned model's {estimate}")
    alone = "" if sum(seeds) > 2 else "; for these two artifacts only, as one training each says nothing of seed noise"
    return f"{closing}{alone}."


def _digits(scale: float) -> int:
    """Decimals that show two digits of the margin, at least four."""
    places = 4
    while places < 10 and scale and abs(scale) * 10 ** (places - 1) < 1:
        places += 1
    return places


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")
