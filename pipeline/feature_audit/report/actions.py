"""What to do after the verdict: next steps, staged removal and rollback, in words and commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from feature_audit.importing import code_options
from feature_audit.plurals import counted
from feature_audit.report import numbers, retirement, view
from feature_audit.results import AuditReport, FeatureDecision

#: Maximum number of tables with a separate wave in the removal plan; the rest share one wave.
NAMED_WAVES = 6
#: Maximum number of features under review that the step names.
NAMED_REVIEWS = 8
#: Title of the wave of features that this model stops reading and other models still read.
READ_BY_OTHERS = "Read by others"


@dataclass(frozen=True)
class Step:
    """One action: a short imperative, the reason or method, and the command if there is one."""

    title: str
    text: str
    command: str | None = None


@dataclass(frozen=True)
class Wave:
    """Features that stop being computed together; ``names`` are those features."""

    title: str
    names: tuple[str, ...]
    saved: float
    text: str

    @property
    def features(self) -> int:
        """Number of features."""
        return len(self.names)


def next_steps(report: AuditReport) -> list[Step]:
    """The next steps for the reader, in order."""
    return {"pass": _after_pass, "fail": _after_fail, "inconclusive": _after_inconclusive, "error": _after_error}[
        report.verdict
    ](report)


def promote_command(report: AuditReport) -> str | None:
    """The command that promotes the recommended version, quoted for a POSIX shell; None before it is registered.

    Without a version, the command would promote the latest recommendation of any audit.
    """
    name, version = _model(report) or (None, None)
    return f"feature-audit promote --model_name {shlex.quote(name)} --version {version}" if name and version else None


def rollback_command(report: AuditReport) -> str | None:
    """The command that restores the version that the promotion replaced."""
    model = _model(report)
    return f"feature-audit rollback --model_name {shlex.quote(model[0])}" if model else None


def _model(report: AuditReport) -> tuple[str, str | None] | None:
    """Registered name and version; before registration, the name from the configuration."""
    match = re.fullmatch(r"models:/(.+)/(\d+)", report.recommendation or "", re.DOTALL)
    if match:
        return match[1], match[2]
    config = report.provenance.get("config")
    name = config.get("model_name") if isinstance(config, Mapping) else None
    return (str(name), None) if name else None


def removal_waves(report: AuditReport) -> list[Wave]:
    """The order in which dropped features stop being computed: whole tables first, since only they save a pipeline.

    Features that another model reads are still computed: they come last and save nothing.
    """
    if report.verdict != "pass":
        return []
    tables = retirement.source_tables(report)
    retiring = [table for table in tables if table.retires]
    dropped = [row for row in report.decisions if row.decision == "drop"]
    text = "No feature of this table is needed, so the whole table can be retired."
    waves = [
        Wave(f"Table {table.name}", _names(row for row in dropped if row.group == table.name), table.saved, text)
        for table in retiring[:NAMED_WAVES]
    ]
    rest = retiring[NAMED_WAVES:]
    if rest:
        more = {table.name for table in rest}
        text = "Each table can be retired as a whole, one at a time; see the list under savings."
        names = _names(row for row in dropped if row.group in more)
        waves.append(Wave(f"{len(rest)} more tables", names, sum(table.saved for table in rest), text))
    whole = {table.name for table in retiring}
    shared = [row for row in dropped if not retirement.goes(report, row)]
    single = [row for row in dropped if retirement.goes(report, row) and row.group not in whole]
    never = [row for row in single if not view.is_feature(report, row)]
    carried = [row for row in single if row.carried_by and view.is_feature(report, row)]
    alone = [row for row in single if not row.carried_by and view.is_feature(report, row)]
    if never:
        text = "Constants, duplicates and leaks, which the full model of this audit did not use either."
        waves.append(_wave("Excluded columns", never, text))
    if carried:
        text = "A kept feature carries the same information, so removing these first is the safest."
        waves.append(_wave("Single redundant features", carried, text))
    if alone:
        text = "The pruned model does not need them."
        waves.append(_wave("Other single features", alone, text))
    if shared:
        readers = dict.fromkeys(one for row in shared for one in retirement.consumers_of(report, row.feature))
        text = (
            f"This model stops reading them, but they are still computed for {_some(list(readers))}, so nothing is "
            "saved."
        )
        waves.append(Wave(READ_BY_OTHERS, _names(shared), 0.0, text))
    return waves


def _wave(title: str, rows: Sequence[FeatureDecision], text: str) -> Wave:
    return Wave(title, _names(rows), sum(row.cost for row in rows), text)


def _names(rows: Iterable[FeatureDecision]) -> tuple[str, ...]:
    return tuple(row.feature for row in rows)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED_REVIEWS} more" if len(names) > NAMED_REVIEWS else ""
    return ", ".join(names[:NAMED_REVIEWS]) + more


def _after_pass(report: AuditReport) -> list[Step]:
    counts = view.decision_counts(report)
    steps = []
    if counts["review"]:
        steps.append(_settle_reviews(report))
    text = (
        "This moves the alias “production” to the recommended version and records the version it replaces. Do not "
        "use MLflow's button “Promote model”, which copies the version to another registered model. The version was "
        "trained on the train split only; to deploy a model of all rows, retrain on the features in "
        "recommendation/kept_features.txt in your own pipeline."
    )
    if report.recommendation is None:
        text = "The model registry does not contain a version of this audit yet. The command below registers it."
        steps.append(Step("Register the model", text, _continue(report)))
    else:
        steps.append(Step("Promote", text, promote_command(report)))
    text = (
        "Shift traffic to the pruned model in steps, for example 1 %, 10 %, 50 %, 100 %, and monitor the same "
        "metrics online. Keep computing the dropped features until then, so that a rollback is a single command."
    )
    steps.append(Step("Roll out in steps", text.replace(" %", numbers.SPACE + "%")))
    text = (
        "Stop computing dropped features one group at a time, in the order of removal given in the report, and "
        "monitor for a few days after each group. If the model keeps training online, fade each feature to its "
        "missing value over several days; an abrupt cut costs more quality."
    )
    steps.append(Step("Fade out group by group", text))
    text = (
        "If an online metric falls by more than the margin, restore the replaced version, then re-enable the last "
        "removed group. Delete pipelines and backfills only after a full business cycle."
    )
    steps.append(Step("Be ready to roll back", text, rollback_command(report)))
    return steps


def _settle_reviews(report: AuditReport) -> Step:
    names = [row.feature for row in report.decisions if row.decision == "review"]
    listed = _some(names)
    it = "it" if len(names) == 1 else "them"
    text = (
        f"{counted(len(names), 'feature')} ({listed}): the pruned model passed without {it}, but at least "
        f"half of the selectors would keep {it}. Either drop {it} with the last group, or keep {it}: the command "
        f"below protects {it} (never_drop), selects again and tests the result; the full model comes from the cache. "
        f"This is a separate run and another look at the same test rows. Keep computing {it} until this is decided."
    )
    return Step("Decide on the features under review", text, _keep_command(report, names))


def _keep_command(report: AuditReport, names: Sequence[str]) -> str | None:
    """The command that audits again with these features protected, in addition to those protected before."""
    config, run_id = report.provenance.get("config"), report.provenance.get("run_id")
    before = config.get("never_drop") or [] if isinstance(config, Mapping) else []
    if not run_id or any("," in name for name in names):
        return None
    return f"{_continue(report)} --never_drop {shlex.quote(','.join([*before, *names]))}"


def _continue(report: AuditReport) -> str:
    """The command that asks this audit another question, including the user's own functions that it needs."""
    code = code_options(report.provenance.get("config") or {})
    return f"feature-audit parity --audit {report.provenance.get('run_id')}{code}"


def _after_fail(report: AuditReport) -> list[Step]:
    cut = counted(report.k, "feature") if report.k else "this feature set"
    steps = [
        Step("Change nothing in production", f"The model on {cut} loses more than the margin. Nothing was registered."),
    ]
    if view.overruling(report):
        text = "The decision metric passes, but a guard fails. See the rows marked “fail” under quality."
        steps.append(Step("Check the guards", text))
    if _limited(report):
        text = (
            "The K curve shows where quality falls below the margin. Audit again with a larger k, or with k = auto. "
            "Finished stages come from the cache."
        )
        steps.append(Step("Allow more features", text))
    else:
        text = (
            "The audit could choose any K, so a larger k would not help. The remaining options are a larger margin, "
            "or more rows or seeds for a narrower interval."
        )
        steps.append(Step("Keep all features at this margin", text))
    text = (
        "Do this only if the business accepts the loss, and before the next audit: a margin chosen after seeing the "
        "result proves nothing. Another look at the same test rows is also judged more strictly than this one."
    )
    steps.append(Step("Or agree on a larger margin first", text))
    return steps


def _limited(report: AuditReport) -> bool:
    """Whether the audit's k was below the number of features that may be kept."""
    config = report.provenance.get("config")
    budget = config.get("k") if isinstance(config, Mapping) else None
    by_rule = sum(row.reason.startswith("dropped by rule") for row in report.decisions)
    return isinstance(budget, int) and budget < report.n_features - by_rule


def more_command(report: AuditReport) -> str | None:
    """The command that adds the trainings needed to decide an inconclusive audit."""
    more, run_id = report.more, report.provenance.get("run_id")
    if report.verdict != "inconclusive" or more is None or not run_id:
        return None
    config = report.provenance.get("config") or {}
    full = "" if config.get("baseline_seeds") == more.baseline_seeds else f" --baseline_seeds {more.baseline_seeds}"
    return f"{_continue(report)} --seeds {more.seeds}{full}"


def _after_inconclusive(report: AuditReport) -> list[Step]:
    row = view.decision_row(report)
    holds = row is not None and row.margin is not None and row.ci_low > -row.margin
    if holds and report.more is None:
        return [
            Step("Change nothing in production", "Nothing was registered."),
            Step("Resolve what prevents a pass", view.prose(report.needed)),
            Step(
                "Do not treat this as a pass",
                "The change is within the margin, but the reason above explains why that is not enough.",
            ),
        ]
    return [
        Step("Change nothing in production", "The evidence is insufficient. Nothing was registered."),
        _collect(report),
        Step(
            "Do not treat this as a pass",
            "A small change with a wide interval is not evidence of safety: the interval still contains the margin.",
        ),
    ]


def _collect(report: AuditReport) -> Step:
    """More trainings on the same rows if those can decide, otherwise more rows."""
    rows = (
        "More test rows narrow the interval, so audit again when the log has grown. A log with newer rows is a new "
        f"table, and its first look is judged at {numbers.confidence(report.confidence)} again."
    )
    if report.more is None:
        return Step("Collect more evidence", rows)
    more = report.more
    text = (
        f"If the true difference equals the estimate, {more.seeds} trainings of the pruned model and "
        f"{more.baseline_seeds} of the full model would decide it in 4 of 5 audits. Adding them takes about "
        f"{numbers.duration(more.seconds)}; everything else is reused. This is a separate run and another look at the "
        f"same test rows, judged at {numbers.confidence(more.confidence)}. {rows}"
    )
    return Step("Collect more evidence", text, more_command(report))


def _after_error(_: AuditReport) -> list[Step]:
    return [
        Step("Nothing was changed", "No model was registered and no alias was moved."),
        Step("Fix the cause", "See the message under the verdict."),
        Step(
            "Run the same command again", "Finished stages come from the cache; the audit continues where it stopped."
        ),
    ]
