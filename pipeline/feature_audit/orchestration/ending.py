"""The end of an audit: the state of its run, and the terminal output."""

from __future__ import annotations

from dataclasses import dataclass

from feature_audit.config import AuditConfig
from feature_audit.errors import AuditError, shortened
from feature_audit.importing import code_options
from feature_audit.orchestration import publish
from feature_audit.report import duration, ladder_sentence, more_command, promote_command, verdict_sentence
from feature_audit.results import AuditReport
from feature_audit.tracking import Run, error_note, where_to_look


@dataclass(frozen=True)
class End:
    """Result of an audit.

    Attributes:
        verdict: None before parity.
        lines: terminal output.
        problem: why a model that passed is not registered, with the remedy; None if there is no problem.
        run_id: the parent run.
        report: the report; None before parity.
    """

    verdict: str | None
    lines: list[str]
    problem: str | None = None
    run_id: str = ""
    report: AuditReport | None = None


def ended(
    parent: Run, driver: Run | None, report: AuditReport | None, problem: str | None, config: AuditConfig, until: str
) -> End:
    """Close the run of an audit that finished."""
    name = publish.data_name(config)
    if report is None:
        if not parent.has_verdict:
            parent.rename(f"{until} done: {name}")
        parent.end("FINISHED")
        again = f"feature-audit parity --audit {parent.id}{_code(config)}"
        return End(None, [f"{until} is done: run {parent.id}; continue to the verdict with {again}"], run_id=parent.id)
    parent.end("FAILED" if problem else "FINISHED")
    point(driver, parent, report, name)
    return End(report.verdict, terminal_lines(parent, report), problem, parent.id, report)


def point(driver: Run | None, parent: Run, report: AuditReport, name: str) -> None:
    """Point the driver's run to the audit's: `mlflow run -e parity -P audit=...` creates a separate run."""
    if driver is not None and driver.id != parent.id:
        driver.tag({"audit.verdict": report.verdict, "audit.parent": parent.id})
        driver.rename(f"{report.verdict}: continues {parent.id[:8]}, {name}")


def terminal_lines(parent: Run, report: AuditReport) -> list[str]:
    """Terminal output of an audit with a verdict."""
    sentences = [f"{report.verdict}: {verdict_sentence(report)}", ladder_sentence(report), report.production]
    sentences += [f"warning: {warning}" for warning in report.warnings]
    lines = [*filter(None, sentences), f"run {parent.id}, artifact report/index.html", *where_to_look(parent.id)]
    if report.recommendation:
        lines.append(f"recommended: {report.recommendation}; promote it with: {promote_command(report)}")
    if report.needed:
        lines.append(f"to decide it: {report.needed}")
    if report.more and (command := more_command(report)):
        lines.append(f"to add trainings, in about {duration(report.more.seconds)}: {command}")
    return lines


def end_without_verdict(parent: Run, name: str, error: BaseException) -> None:
    """Mark the run as failed or interrupted; an existing verdict and its explanation are kept."""
    word, line, status = "error", shortened(str(error)) or type(error).__name__, "FAILED"
    if isinstance(error, KeyboardInterrupt):
        line = "interrupted; the same command continues from the last finished stage"
        word, status = "interrupted", "KILLED"
    if not parent.has_verdict:
        parent.tag({"audit.verdict": "error"})
        parent.rename(f"{word}: {name}")
        parent.describe(error_note(line))
        parent.end(status)
    elif parent.is_running:
        parent.end(status)


def not_registered(parent: Run, config: AuditConfig, report: AuditReport, error: AuditError) -> str:
    """Report, on the run and to the user, how to register the model; verdict and report are already complete."""
    problem = (
        f"the verdict is {report.verdict} and the report is complete, but the model was not registered: {error}; once "
        f"that is fixed, run feature-audit parity --audit {parent.id}{_code(config)}"
    )
    note = parent.tags()["mlflow.note.content"].split("\n", 1)
    parent.describe("\n".join([note[0], "", error_note(problem), *note[1:]]))
    return problem


def _code(config: AuditConfig) -> str:
    """The user's functions as command-line options, which a continued audit requires again."""
    return code_options(config.model_dump())
