"""What to do with the verdict: the next steps, the staged removal and the way back, in words and commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from feature_audit.importing import code_options
from feature_audit.report import numbers, retirement, view
from feature_audit.results import AuditReport, FeatureDecision

#: Tables named one by one in the removal plan; the rest is one wave.
NAMED_WAVES = 6
#: Features under review that are named in the step that settles them.
NAMED_REVIEWS = 8
#: Title of the wave whose features this model stops reading and others do not.
READ_BY_OTHERS = "Read by others"


@dataclass(frozen=True)
class Step:
    """One thing to do: a short imperative, why or how, and the command if there is one."""

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
        """How many they are."""
        return len(self.names)


def next_steps(report: AuditReport) -> list[Step]:
    """What the reader should do now, in order."""
    return {"pass": _after_pass, "fail": _after_fail, "inconclusive": _after_inconclusive, "error": _after_error}[
        report.verdict
    ](report)


def promote_command(report: AuditReport) -> str | None:
    """The command that promotes the recommended version, quoted for a POSIX shell; None before it is registered.

    Without its version, the command would promote whatever another audit recommended last.
    """
    name, version = _model(report) or (None, None)
    return f"feature-audit promote --model_name {shlex.quote(name)} --version {version}" if name and version else None


def rollback_command(report: AuditReport) -> str | None:
    """The command that puts back what the promotion replaced."""
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

    What another model reads goes on being computed: it comes last and saves nothing.
    """
    if report.verdict != "pass":
        return []
    tables = retirement.source_tables(report)
    retiring = [table for table in tables if table.retires]
    dropped = [row for row in report.decisions if row.decision == "drop"]
    text = "Nothing of it is needed: the whole table retires."
    waves = [
        Wave(f"Table {table.name}", _names(row for row in dropped if row.group == table.name), table.saved, text)
        for table in retiring[:NAMED_WAVES]
    ]
    rest = retiring[NAMED_WAVES:]
    if rest:
        more = {table.name for table in rest}
        text = "Each retires as a whole, one after the other; they are listed under savings."
        names = _names(row for row in dropped if row.group in more)
        waves.append(Wave(f"{len(rest)} more tables", names, sum(table.saved for table in rest), text))
    whole = {table.name for table in retiring}
    shared = [row for row in dropped if not retirement.goes(report, row)]
    single = [row for row in dropped if retirement.goes(report, row) and row.group not in whole]
    never = [row for row in single if not view.is_feature(report, row)]
    carried = [row for row in single if row.carried_by and view.is_feature(report, row)]
    alone = [row for row in single if not row.carried_by and view.is_feature(report, row)]
    if never:
        text = "Constants, duplicates and leaks: the full model of this audit did not use them either."
        waves.append(_wave("Excluded columns", never, text))
    if carried:
        text = "Another feature carries what they know, so they go before features that stand alone."
        waves.append(_wave("Single features with a carrier", carried, text))
    if alone:
        text = "The pruned model is as good without them."
        waves.append(_wave("Other single features", alone, text))
    if shared:
        readers = dict.fromkeys(one for row in shared for one in retirement.consumers_of(report, row.feature))
        text = (
            f"This model stops reading them, but they are still computed for {_some(list(readers))}: nothing is saved."
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
        "Moves the alias “production” to the recommended version and records the version it replaces. MLflow's own "
        "button “Promote model” is something else: it copies the version to another registered model."
    )
    if report.recommendation is None:
        text = "The model registry holds no version of this audit yet: the command below registers it."
        steps.append(Step("Register the model", text, _continue(report)))
    else:
        steps.append(Step("Promote", text, promote_command(report)))
    text = (
        "Shift traffic to the pruned model in steps, for example 1 %, 10 %, 50 %, 100 %, and watch the same metrics "
        "online. Keep computing the dropped features meanwhile: then the way back is one command."
    )
    steps.append(Step("Roll out in steps", text.replace(" %", numbers.SPACE + "%")))
    text = (
        "Stop computing dropped features one group at a time, in the report's order of removal, with a few days of "
        "watching between groups. A model that goes on training online should see a feature fade to its missing value "
        "over days: an abrupt cut costs more than a slow one."
    )
    steps.append(Step("Fade out group by group", text))
    text = (
        "If an online metric falls by more than the margin, put the replaced version back, then turn on the last "
        "removed group again. Delete pipelines and back-fills only when a full business cycle has passed."
    )
    steps.append(Step("Keep the way back open", text, rollback_command(report)))
    return steps


def _settle_reviews(report: AuditReport) -> Step:
    names = [row.feature for row in report.decisions if row.decision == "review"]
    listed = _some(names)
    it = "it" if len(names) == 1 else "them"
    text = (
        f"{numbers.counted(len(names), 'feature')} ({listed}): the tested model lacks {it}, so the verdict covers "
        f"dropping {it}, but half of the selectors or more would keep {it}. Either let {it} go with the last group, or "
        f"keep {it}: the command below selects again with {it} protected (never_drop) and "
        "tests that model; the full model comes from the cache. It makes a run of its own, and is another look at the "
        "same test rows. "
        f"Until this is decided, keep computing {it}."
    )
    return Step("Settle the reviews", text, _keep_command(report, names))


def _keep_command(report: AuditReport, names: Sequence[str]) -> str | None:
    """The command that audits again with more features that must stay, in addition to those that had to stay before."""
    config, run_id = report.provenance.get("config"), report.provenance.get("run_id")
    before = config.get("never_drop") or [] if isinstance(config, Mapping) else []
    if not run_id or any("," in name for name in names):
        return None
    return f"{_continue(report)} --never_drop {shlex.quote(','.join([*before, *names]))}"


def _continue(report: AuditReport) -> str:
    """The command that asks this audit another question; with the user's own functions, which it asks for."""
    code = code_options(report.provenance.get("config") or {})
    return f"feature-audit parity --audit {report.provenance.get('run_id')}{code}"


def _after_fail(report: AuditReport) -> list[Step]:
    cut = numbers.counted(report.k, "feature") if report.k else "this feature set"
    steps = [
        Step("Change nothing in production", f"The model on {cut} loses more than the margin. Nothing was registered."),
    ]
    if view.overruling(report):
        text = "The overall metric holds, but a guard does not. Look at the rows marked “fail” under quality."
        steps.append(Step("Look at the guards", text))
    if _limited(report):
        text = (
            "The K curve shows where quality leaves the margin. Audit again with a larger budget (k), or with k = auto "
            "to let the audit choose. Finished stages come from the cache."
        )
        steps.append(Step("Allow more features", text))
    else:
        text = (
            "The audit could choose any K and found none that can be dropped to at this margin, so a larger budget (k) "
            "changes nothing. What is left is the margin, or a narrower interval by more rows or seeds."
        )
        steps.append(Step("Keep all features at this margin", text))
    text = (
        "Only if the business can bear it, and before the next audit, not after seeing a result: a margin chosen "
        "afterwards proves nothing, and another look at the same test rows is judged more strictly than this one."
    )
    steps.append(Step("Or agree on another margin first", text))
    return steps


def _limited(report: AuditReport) -> bool:
    """Was the audit's budget below the number of features that may be kept?"""
    config = report.provenance.get("config")
    budget = config.get("k") if isinstance(config, Mapping) else None
    by_rule = sum(row.reason.startswith("dropped by rule") for row in report.decisions)
    return isinstance(budget, int) and budget < report.n_features - by_rule


def more_command(report: AuditReport) -> str | None:
    """The command that adds the trainings that would decide an inconclusive audit."""
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
            Step("Remove what keeps the audit from passing", view.prose(report.needed)),
            Step(
                "Do not read it as a pass",
                "The change itself lies within the margin, but the reason above says why that is not enough.",
            ),
        ]
    return [
        Step("Change nothing in production", "The evidence is insufficient. Nothing was registered."),
        _collect(report),
        Step(
            "Do not read it as a pass",
            "A small measured change with a wide interval is no proof of safety: the margin lies inside the interval.",
        ),
    ]


def _collect(report: AuditReport) -> Step:
    """More trainings on the same rows where they can decide, else rows."""
    rows = (
        "More test rows narrow the interval: audit again when the log has grown. A log with newer rows is a new table: "
        f"its first look is judged at {numbers.confidence(report.confidence)} again."
    )
    if report.more is None:
        return Step("Collect what would decide it", rows)
    more = report.more
    text = (
        f"With {more.seeds} trainings of the pruned and {more.baseline_seeds} of the full model it would be decided in "
        f"4 of 5 audits if the difference stays as it is. Adding them takes about {numbers.duration(more.seconds)}; "
        f"everything else is reused. It is another look at the same test rows, judged at "
        f"{numbers.confidence(more.confidence)}, and a run of its own. {rows}"
    )
    return Step("Collect what would decide it", text, more_command(report))


def _after_error(_: AuditReport) -> list[Step]:
    return [
        Step("Nothing was changed", "No model was registered and no alias was moved."),
        Step("Remove the cause", "The message under the verdict names it."),
        Step("Run the same command again", "Finished stages come from the cache; the audit goes on where it stopped."),
    ]
