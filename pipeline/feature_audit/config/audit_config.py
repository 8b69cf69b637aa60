"""All keys together: what a profile sets, and which keys must agree.

Precedence is command line > file(s) > profile > default (``files.py``). Unknown keys are refused by name.
The classes are frozen: a stage can read its configuration but not change it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from feature_audit.config.log_keys import LogKeys, SplitKeys
from feature_audit.config.question_keys import DEFAULT_METRIC, QuestionKeys
from feature_audit.config.sections import (
    ChecksConfig,
    EncodingConfig,
    NamedMistake,
    ReaderConfig,
    SelectionConfig,
    TrainingConfig,
)
from feature_audit.config.work_keys import ModelKeys, ResultKeys, WorkKeys
from feature_audit.errors import UsageError
from feature_audit.metric_names import parse_metric
from feature_audit.question import Margin, TargetRule, check_guards, read_targets
from feature_audit.schema import Task

#: What a profile sets: plain keys, which files and the command line override.
PROFILES: dict[str, dict[str, Any]] = {
    "quick": {"trials": 1, "seeds": 3, "baseline_seeds": 2},
    "default": {"trials": 3, "seeds": "auto", "baseline_seeds": "auto"},
    "thorough": {"trials": 12, "seeds": 5, "baseline_seeds": 5},
}


class AuditConfig(
    ResultKeys, WorkKeys, ModelKeys, QuestionKeys, SplitKeys, LogKeys
):  # pydantic lists the last one first
    """All keys of an audit; every one is also a command-line option and a parameter of `mlflow run`."""

    reader: ReaderConfig = Field(ReaderConfig(), description="Reading text files.")
    encoding: EncodingConfig = Field(
        EncodingConfig(), description="Encoding of raw values for the model, fitted on the train rows."
    )
    training: TrainingConfig = Field(TrainingConfig(), description="Training of one model, full or pruned.")
    selection: SelectionConfig = Field(
        SelectionConfig(),
        description="Training of the selector. Every trial draws from the ranges; two equal numbers fix a setting.",
    )
    checks: ChecksConfig = Field(ChecksConfig(), description="Thresholds of the data checks.")

    @model_validator(mode="before")
    @classmethod
    def _decision_of_targets(cls, values: Any) -> Any:
        """``targets`` lists the decision target first, and may set its metric, task and margin."""
        if not isinstance(values, Mapping) or values.get("targets") in (None, {}):
            return values
        try:
            rules = read_targets(values["targets"])
        except UsageError:
            return values  # the validator of the field reports it
        name, rule = next(iter(rules.items()))
        decision: dict[str, Any] = {"target": name, "metric": rule.metric, "margin": rule.margin}
        for key, value in decision.items():
            given = values.get(key)
            if value is not None and given is not None and str(given).lower() != str(value).lower():
                first = f"targets.{name}.{key}={value}" if key != "target" else f"targets={','.join(rules)}"
                raise NamedMistake(f"{key}={given}: contradicts {first}; give one of the two")
        if len(rules) > 1 and values.get("task") is None:
            decision["task"] = rule.task
        return {**values, **{key: value for key, value in decision.items() if value is not None}}

    @model_validator(mode="before")
    @classmethod
    def _one_model(cls, values: Any) -> Any:
        """A checkpoint is a single full model, so the pruned models are compared with that one."""
        if isinstance(values, Mapping) and values.get("checkpoint") and not values.get("against"):
            return {**values, "against": "deployed"}
        return values

    @model_validator(mode="before")
    @classmethod
    def _auto_is_the_profile(cls, values: Any) -> Any:
        """``auto`` for a count means what the profile sets."""
        if not isinstance(values, Mapping):
            return values
        counts = PROFILES.get(str(values.get("profile", "default")), PROFILES["default"])
        return {**values, **{key: count for key, count in counts.items() if values.get(key) == "auto"}}

    @model_validator(mode="after")
    def _agree(self) -> AuditConfig:
        if self.k != "auto" and self.k_min > self.k:
            raise ValueError(f"k_min={self.k_min} is above k={self.k}; lower k_min or raise k")
        self._one_full_model()
        ignored = ("auto", 1, PROFILES[self.profile]["baseline_seeds"])  # not the user's own number
        if self.against == "deployed" and self.baseline_seeds not in ignored:
            raise ValueError(f"baseline_seeds={self.baseline_seeds}: against=deployed uses a single full model; give 1")
        if self.split_files and not {"train", "test"} <= self.split_files.keys():
            raise ValueError("split_files: give the files of train and test, and of validation if you have them")
        if self.weight is not None and self.negative_sampling is not None:
            raise ValueError(
                f"negative_sampling={self.negative_sampling:g}: weight={self.weight} already weights the rows; give "
                "one of the two"
            )
        if self.negative_sampling is not None and self.task not in (None, "binary"):
            raise ValueError(
                f"negative_sampling={self.negative_sampling:g}: task={self.task} has no negatives; give weight=<column>"
            )
        if self.split_files and self.split:
            raise ValueError(f"split={self.split}: split_files already defines the split; give one of the two")
        for name in self.whole_groups:
            if name != "*" and name not in self.groups:
                known = ", ".join(self.groups) or "none"
                raise ValueError(f"whole_groups={name}: no such group; groups: {known}")
        try:
            if self.metric:
                parse_metric(self.metric, self.task)
            check_guards(self.guards, self.metric or DEFAULT_METRIC.get(str(self.task)), self.task)
        except UsageError as error:
            raise ValueError(str(error)) from None
        if self.slice_mode == "not_worse" and self.slice_margin is None:
            raise ValueError("slice_mode=not_worse: needs slice_margin; give the largest acceptable loss in a slice")
        return self

    def _one_full_model(self) -> None:
        """Refuse more than one source of the full model."""
        given = {"checkpoint": self.checkpoint, "trainer": self.trainer, "command": self.command}
        named = [f"{key}={value}" for key, value in given.items() if value]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)}: each one defines the full model; give only one of them")
        if self.checkpoint and self.against == "retrained":
            raise ValueError(
                f"against=retrained: checkpoint={self.checkpoint} is a single training, so seed variance cannot be "
                "separated from the effect of the features; leave out against"
            )

    @model_validator(mode="after")
    def _engine_agrees(self) -> AuditConfig:
        if self.engine == "ray" and self.workers > 1:
            raise ValueError(
                f"workers={self.workers}: with engine=ray the cluster decides how many jobs run; leave out workers"
            )
        if self.engine == "ray" and ":" in self.device:
            raise ValueError(f"device={self.device}: with engine=ray each job has its own GPU; give cuda")
        return self

    @model_validator(mode="after")
    def _ranks_agree(self) -> AuditConfig:
        job = self.trainer or self.command
        if self.ranks > 1 and job:
            raise ValueError(f"ranks={self.ranks}: {job} trains, in as many processes as it wants; leave ranks out")
        if self.ranks > 1 and ":" in self.device:
            raise ValueError(f"device={self.device}: with ranks={self.ranks} each rank uses a separate card; give cuda")
        return self

    @model_validator(mode="after")
    def _group_agrees(self) -> AuditConfig:
        if self.group_is_feature and self.group is None:
            raise ValueError("group_is_feature=true: there is no group; give group=<column>")
        if self.group_is_feature and self.split == "group":
            raise ValueError(
                "group_is_feature=true: with split=group the groups of the test rows do not occur in train; give "
                "another split"
            )
        return self

    @property
    def further(self) -> dict[str, TargetRule]:
        """Secondary target -> its rule (all targets except the decision target)."""
        return dict(list(self.targets.items())[1:])

    @property
    def labels_read(self) -> dict[str, Task | None]:
        """Secondary target -> the task that its metric implies, which determines how its label is read."""
        return {name: rule.task for name, rule in self.further.items()}

    @property
    def absolute_margin(self) -> float:
        """The margin in the units of the metric; a share is resolved once the full model is trained."""
        assert isinstance(self.margin, float), f"margin={self.margin} is not resolved yet"
        return self.margin

    def absolute_target_margin(self, name: str) -> float:
        """The margin of a secondary target in the units of its metric."""
        margin = self.targets[name].margin
        assert isinstance(margin, float), f"targets.{name}.margin={margin} is not resolved yet"
        return margin

    @property
    def absolute_slice_margin(self) -> float | None:
        """The margin of slices in the units of the metric, or None if they are only reported."""
        assert not isinstance(self.slice_margin, str), f"slice_margin={self.slice_margin} is not resolved yet"
        return self.slice_margin

    @property
    def shares(self) -> dict[str, str]:
        """Key -> margin, for margins given as shares, which need the trained full model."""
        margins: dict[str, Margin | None] = {"margin": self.margin, "slice_margin": self.slice_margin}
        margins |= {f"guards.{name}": guard.margin for name, guard in self.guards.items()}
        margins |= {f"targets.{name}": rule.margin for name, rule in self.further.items()}
        return {key: margin for key, margin in margins.items() if isinstance(margin, str)}
