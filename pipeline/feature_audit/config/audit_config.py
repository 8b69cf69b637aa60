"""All keys together: what a profile sets, and how keys have to agree.

Precedence is command line > file(s) > profile > default (``files.py``). Unknown keys are refused by name.
The classes are frozen: a stage can read its configuration and never change it.
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

#: What a profile sets: plain keys, below every file and the command line.
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
        EncodingConfig(), description="From raw values to what a model embeds, fitted on the train rows."
    )
    training: TrainingConfig = Field(TrainingConfig(), description="One training of a model, full or pruned.")
    selection: SelectionConfig = Field(
        SelectionConfig(),
        description="The selector's training. Every trial draws from the ranges; two equal numbers fix a setting.",
    )
    checks: ChecksConfig = Field(ChecksConfig(), description="Findings about the data.")

    @model_validator(mode="before")
    @classmethod
    def _decision_of_targets(cls, values: Any) -> Any:
        """``targets`` names the decision target first, and may say its metric, task and margin."""
        if not isinstance(values, Mapping) or values.get("targets") in (None, {}):
            return values
        try:
            rules = read_targets(values["targets"])
        except UsageError:
            return values  # said by the field's own check
        name, rule = next(iter(rules.items()))
        said: dict[str, Any] = {"target": name, "metric": rule.metric, "margin": rule.margin}
        for key, value in said.items():
            given = values.get(key)
            if value is not None and given is not None and str(given).lower() != str(value).lower():
                first = f"targets.{name}.{key}={value}" if key != "target" else f"targets={','.join(rules)}"
                raise NamedMistake(f"{key}={given}: {first} says otherwise; give one of the two")
        if len(rules) > 1 and values.get("task") is None:
            said["task"] = rule.task
        return {**values, **{key: value for key, value in said.items() if value is not None}}

    @model_validator(mode="before")
    @classmethod
    def _one_model(cls, values: Any) -> Any:
        """A checkpoint is one full model: it is that one that the pruned models are compared with."""
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
        ignored = ("auto", 1, PROFILES[self.profile]["baseline_seeds"])  # the profile asks for no second deployed model
        if self.against == "deployed" and self.baseline_seeds not in ignored:
            raise ValueError(
                f"baseline_seeds={self.baseline_seeds}: with against=deployed there is one full model; give 1"
            )
        if self.split_files and not {"train", "test"} <= self.split_files.keys():
            raise ValueError("split_files: give the files of train and test, and of validation if there are any")
        if self.weight is not None and self.negative_sampling is not None:
            raise ValueError(
                f"negative_sampling={self.negative_sampling:g}: weight={self.weight} weighs the rows already; "
                "give one of the two"
            )
        if self.negative_sampling is not None and self.task not in (None, "binary"):
            raise ValueError(
                f"negative_sampling={self.negative_sampling:g}: task={self.task} has no negatives; give weight=<column>"
            )
        if self.split_files and self.split:
            raise ValueError(f"split={self.split}: split_files splits already; give one of the two")
        for name in self.whole_groups:
            if name != "*" and name not in self.groups:
                known = ", ".join(self.groups) or "none is named"
                raise ValueError(f"whole_groups={name}: no such group; groups: {known}")
        try:
            if self.metric:
                parse_metric(self.metric, self.task)
            check_guards(self.guards, self.metric or DEFAULT_METRIC.get(str(self.task)), self.task)
        except UsageError as error:
            raise ValueError(str(error)) from None
        if self.slice_mode == "not_worse" and self.slice_margin is None:
            raise ValueError("slice_mode=not_worse: needs slice_margin; give the loss that counts as none in a slice")
        return self

    def _one_full_model(self) -> None:
        """At most one place where the full model comes from."""
        given = {"checkpoint": self.checkpoint, "trainer": self.trainer, "command": self.command}
        named = [f"{key}={value}" for key, value in given.items() if value]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)}: each says where the full model comes from; give one of them")
        if self.checkpoint and self.against == "retrained":
            raise ValueError(
                f"against=retrained: checkpoint={self.checkpoint} is one training, whose "
                "seed noise cannot be separated from its features; leave against out"
            )

    @model_validator(mode="after")
    def _engine_agrees(self) -> AuditConfig:
        if self.engine == "ray" and self.workers > 1:
            raise ValueError(f"workers={self.workers}: with engine=ray the cluster's cores decide; leave workers out")
        if self.engine == "ray" and ":" in self.device:
            raise ValueError(f"device={self.device}: with engine=ray each job has a card of its own; give cuda")
        return self

    @model_validator(mode="after")
    def _ranks_agree(self) -> AuditConfig:
        job = self.trainer or self.command
        if self.ranks > 1 and job:
            raise ValueError(f"ranks={self.ranks}: {job} trains, in as many processes as it wants; leave ranks out")
        if self.ranks > 1 and ":" in self.device:
            raise ValueError(
                f"device={self.device}: with ranks={self.ranks} each rank has a card of its own; give cuda"
            )
        return self

    @model_validator(mode="after")
    def _group_agrees(self) -> AuditConfig:
        if self.group_is_feature and self.group is None:
            raise ValueError("group_is_feature=true: no group is named; give group=<column>")
        if self.group_is_feature and self.split == "group":
            raise ValueError(
                "group_is_feature=true: with split=group train knows no group of the test rows; give another split"
            )
        return self

    @property
    def further(self) -> dict[str, TargetRule]:
        """Target -> what is asked of it, of all but the decision target."""
        return dict(list(self.targets.items())[1:])

    @property
    def labels_read(self) -> dict[str, Task | None]:
        """Of several targets, what reading their labels depends on: the task that each one's metric asks for."""
        return {name: rule.task for name, rule in self.further.items()}

    @property
    def absolute_margin(self) -> float:
        """The margin in the metric's units; a share is resolved after the full model's training."""
        assert isinstance(self.margin, float), f"margin={self.margin} is not resolved yet"
        return self.margin

    def absolute_target_margin(self, name: str) -> float:
        """The margin of a further target in its metric's units."""
        margin = self.targets[name].margin
        assert isinstance(margin, float), f"targets.{name}.margin={margin} is not resolved yet"
        return margin

    @property
    def absolute_slice_margin(self) -> float | None:
        """The margin of slices in the metric's units, None where they are only reported."""
        assert not isinstance(self.slice_margin, str), f"slice_margin={self.slice_margin} is not resolved yet"
        return self.slice_margin

    @property
    def shares(self) -> dict[str, str]:
        """Key -> margin, of margins that are shares and wait for the full model's training."""
        margins: dict[str, Margin | None] = {"margin": self.margin, "slice_margin": self.slice_margin}
        margins |= {f"guards.{name}": guard.margin for name, guard in self.guards.items()}
        margins |= {f"targets.{name}": rule.margin for name, rule in self.further.items()}
        return {key: margin for key, margin in margins.items() if isinstance(margin, str)}
