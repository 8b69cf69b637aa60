"""Keys that say what is asked: how many features, by which metric, and what counts as no loss."""

from __future__ import annotations

import math
import re
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from feature_audit.config.sections import NamedMistake, Section
from feature_audit.errors import UsageError
from feature_audit.question import Guard, GuardMode, Margin, read_guards, read_margin

#: Decision metric per task where the user names none; all are "higher is better" as reported.
DEFAULT_METRIC: dict[str, str] = {"binary": "auc", "regression": "r2", "multiclass": "accuracy"}

#: Margin where the user names none: of metrics without a unit, and of those in the target's own.
DEFAULT_MARGIN, DEFAULT_SHARE = 0.002, "1%"


def read_count(value: Any, least: int) -> Any:
    """A whole number of at least ``least``, or ``auto``, as it is; from text as well.

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
    """A whole number of rows above 1, or a share of them between 0 and 1 (``.1``, ``10%``); all of them are None.

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
        description="The most features to keep. A number above the number of features is no limit; auto: no limit.",
        examples=[200],
    )
    k_min: int = Field(1, ge=1, description="The fewest features worth considering. k_min = k fixes K.")
    metric: str | None = Field(
        None,
        description="Decision metric. auc, logloss, normalised_entropy, calibration, gauc, ndcg (binary); r2, rmse, "
        "mae (regression); accuracy, logloss (multiclass), in upper or lower case. ndcg counts 10 positions, ndcg@5 "
        "counts 5. null: auc, r2 or accuracy, by task.",
        examples=["gauc", "ndcg@5"],
    )
    margin: Margin | None = Field(
        None,
        description="Largest loss that counts as none. 0.002 is in the metric's own units, 1% is a share of what "
        "the full model gains over no skill on validation. null: 0.002, or 1% for rmse and mae, which have the "
        "target's unit.",
        examples=[0.001, "1%"],
    )
    guards: dict[str, Guard] = Field(
        default_factory=dict,
        description="Other metric -> its margin. {calibration: 0.02}, or {calibration: {margin: 0.02, mode: "
        "not_worse}}. A guard that is shown to lose more than its margin makes the verdict fail; with not_worse a "
        "pass needs it shown to hold.",
        examples=[{"calibration": 0.02}, {"logloss": {"margin": "1%", "mode": "not_worse"}}],
        json_schema_extra=_or_a_margin,
    )
    slice_margin: Margin | None = Field(
        None,
        description="Margin of the decision metric in every slice, a number or a share. null: slices are only "
        "reported.",
        examples=[0.01],
    )
    slice_mode: GuardMode = Field(
        "not_shown_worse",
        description="not_shown_worse or not_worse, as for guards. not_shown_worse: a slice that is shown to lose "
        "fails; not_worse: a pass needs every slice shown to hold.",
    )
    confidence: float = Field(
        0.95,
        gt=0.5,
        lt=1,
        description="Confidence of the two-sided interval. The verdict stands on its lower bound.",
    )
    looks: int = Field(
        1,
        ge=1,
        description="Looks at the test rows that are planned before the first one. For example 2 to come back with "
        "more seeds. They share the error that one look has: early ones get little of it, and looks beyond the plan "
        "hardly any.",
    )
    against: Literal["retrained", "deployed"] = Field(
        "retrained",
        description="What the pruned model is compared with: retrained or deployed. retrained: the full feature set "
        "over its possible trainings. May production drop these features, today and after every retraining? "
        "deployed: the one full model as it was trained. May this model be replaced? Its seed noise is then not "
        "counted, and it is trained once.",
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
        except UsageError as error:  # as pydantic wants it, which lists this mistake together with others
            raise NamedMistake(str(error)) from None

    @field_validator("metric")
    @classmethod
    def _lower_case(cls, value: str | None) -> str | None:
        return value.lower() if value else value

    @field_validator("k", mode="before")
    @classmethod
    def _read_k(cls, value: Any) -> Any:
        return read_count(value, 1)
