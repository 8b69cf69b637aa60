"""Keys that define the question: how many features, which metric, and which margin."""

from __future__ import annotations

import math
import re
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from feature_audit.config.sections import NamedMistake, Section
from feature_audit.errors import UsageError
from feature_audit.question import IN_TARGET_UNITS, Guard, GuardMode, Margin, read_guards, read_margin

#: Default decision metric per task; all are reported as "higher is better".
DEFAULT_METRIC: dict[str, str] = {"binary": "auc", "regression": "r2", "multiclass": "accuracy"}

#: Default margin of metrics without a unit, and of metrics in the units of the target.
DEFAULT_MARGIN, DEFAULT_SHARE = 0.002, "1%"


def default_margin(metric: str) -> float | str:
    """The margin of a metric for which none is given: a number, or a share of the metric of the full model."""
    return DEFAULT_SHARE if metric.lower() in IN_TARGET_UNITS else DEFAULT_MARGIN


def margin_of_scores(metric: str, margin: Any) -> Any:
    """The margin of a comparison of given scores; None = the default, which exists for metrics without a unit.

    Raises:
        UsageError: the metric is in the units of the target, and no margin is given.
    """
    if margin is not None:
        return margin
    if metric.lower() in IN_TARGET_UNITS:
        raise UsageError(f"margin: {metric} is in the units of the target; give the largest acceptable loss")
    return DEFAULT_MARGIN


def read_count(value: Any, least: int) -> Any:
    """Parse a whole number of at least ``least``, or ``auto``; text is accepted.

    Raises:
        ValueError: anything else.
    """
    wanted = f"give a whole number of at least {least}, or auto"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(wanted)
    if isinstance(value, str) and value != "auto":
        if not re.fullmatch(r"[+-]?\d+", value.strip()):
            raise ValueError(wanted)
        value = int(value)
    if not isinstance(value, str) and value < least:
        raise ValueError(wanted)
    return value


def read_rows(value: Any) -> int | float | None:
    """Parse a number of rows above 1, or a share between 0 and 1 (``.1``, ``10%``); None means all rows.

    Raises:
        ValueError: anything else.
    """
    wanted = "give a number of rows above 1, or a share of them such as 10% or .1"
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%").replace("_", ""))
    except ValueError:
        raise ValueError(wanted) from None
    if isinstance(value, bool) or not math.isfinite(number) or number <= 0:
        raise ValueError(wanted)
    if text.endswith("%"):
        if number > 100:
            raise ValueError(wanted)
        return number / 100 if number < 100 else None
    if number == 1 or (number > 1 and number != int(number)):
        raise ValueError(wanted)
    return number if number < 1 else int(number)


def _or_a_margin(schema: dict[str, Any]) -> None:
    """Adds the short form of a guard, which is its margin alone."""
    schema["additionalProperties"] = {"anyOf": [{"type": "number"}, {"type": "string"}, schema["additionalProperties"]]}


class QuestionKeys(Section):
    """The question"""

    k: int | Literal["auto"] = Field(
        "auto",
        description="Maximum number of features to keep. auto, or a number above the number of features: no limit.",
        examples=[200],
    )
    k_min: int = Field(1, ge=1, description="Minimum number of features to keep. k_min = k fixes K.")
    metric: str | None = Field(
        None,
        description="Decision metric. auc, logloss, normalised_entropy, calibration, gauc, ndcg (binary); r2, rmse, "
        "mae (regression); accuracy, logloss (multiclass); not case-sensitive. ndcg is NDCG@10; ndcg@5 uses 5 "
        "positions. null: auc, r2 or accuracy, depending on the task.",
        examples=["gauc", "ndcg@5"],
    )
    margin: Margin | None = Field(
        None,
        description="Non-inferiority margin: the largest loss that is acceptable. 0.002 is in the units of the "
        "metric. 1% is a share of the full model's gain over a no-skill model on validation. null: 0.002, or 1% for "
        "rmse and mae, which are in the units of the target.",
        examples=[0.001, "1%"],
    )
    guards: dict[str, Guard] = Field(
        default_factory=dict,
        description="Guard metric -> its margin. {calibration: 0.02}, or {calibration: {margin: 0.02, mode: "
        "not_worse}}. The verdict is fail if a guard is proven to lose more than its margin. With mode not_worse, a "
        "pass also requires non-inferiority on the guard.",
        examples=[{"calibration": 0.02}, {"logloss": {"margin": "1%", "mode": "not_worse"}}],
        json_schema_extra=_or_a_margin,
    )
    slice_margin: Margin | None = Field(
        None,
        description="Margin of the decision metric in every slice, a number or a share. null: slices are reported "
        "but do not affect the verdict.",
        examples=[0.01],
    )
    slice_mode: GuardMode = Field(
        "not_shown_worse",
        description="not_shown_worse or not_worse, as for guards. not_shown_worse: the verdict is fail if a slice is "
        "proven to lose more than its margin. not_worse: a pass requires non-inferiority in every slice.",
    )
    confidence: float = Field(
        0.95,
        gt=0.5,
        lt=1,
        description="Confidence level of the interval that decides. Nine tenths of its error lie beyond the lower "
        "bound, which decides a pass, and one tenth beyond the upper bound, which decides a fail.",
    )
    looks: int = Field(
        1,
        ge=1,
        description="Number of planned looks at the test rows. For example 2, to allow a second look with more "
        "seeds. All looks share the error rate of a single one: early looks get a small part of it, and unplanned "
        "looks get almost none.",
    )
    against: Literal["retrained", "deployed"] = Field(
        "retrained",
        description="What the pruned model is compared with: retrained or deployed. retrained: the full feature set, "
        "averaged over retrainings. Use it to ask whether production can drop these features today and after every "
        "retraining. deployed: the one full model as it was trained. Use it to ask whether this model can be "
        "replaced. Seed variance of the full model is then not included, and it is trained once.",
    )
    gate: bool = Field(False, description="Exit with 3 on fail and 4 on inconclusive.")

    @field_validator("margin", "slice_margin", "guards", mode="before")
    @classmethod
    def _read_question(cls, value: Any, info: ValidationInfo) -> Any:
        key = str(info.field_name)
        try:
            if key == "guards":
                return read_guards(value)
            return None if value is None else read_margin(key, value)
        except UsageError as error:  # a ValueError, so that pydantic lists it with the other mistakes
            raise NamedMistake(str(error)) from None

    @field_validator("metric")
    @classmethod
    def _lower_case(cls, value: str | None) -> str | None:
        return value.lower() if value else value

    @field_validator("k", mode="before")
    @classmethod
    def _read_k(cls, value: Any) -> Any:
        return read_count(value, 1)
