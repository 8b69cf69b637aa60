"""The command line: parse options, call one stage function, return an exit code.

Exit codes: 0 done (any verdict), 1 error, 2 bad usage (refused before the log is opened); with ``--gate``: 3 fail,
4 inconclusive.
Heavy imports happen inside the commands, so that ``feature-audit --help`` answers at once.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click

from feature_audit import __version__
from feature_audit.config import AuditConfig, reference
from feature_audit.config.files import is_mapping, load_config
from feature_audit.errors import AuditError, Terminated, UsageError, shortened
from feature_audit.importing import large_imports
from feature_audit.masking import MaskingFilter, masked

GATE_EXIT = {"pass": 0, "fail": 3, "inconclusive": 4}
STAGES = ("load", "baseline", "select", "retrain", "parity")
#: Of options that may be given without a value.
_SWITCH: dict[str, Any] = {"is_flag": False, "flag_value": "true", "metavar": "[true|false]"}
_model_name = click.option(
    "--model_name", "--model-name", "model_name", default="feature-audit", help="Registered model"
)


def audit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add every configuration key as an option; empty text means "not given", mappings are written as YAML."""
    for name, field in reversed(AuditConfig.model_fields.items()):
        # Values stay text: pydantic validates them together with the files, so that one message has key and remedy.
        names = [f"--{name}"] + ([f"--{name.replace('_', '-')}"] if "_" in name else [])
        value = _SWITCH if field.annotation is bool else {"metavar": "YAML" if is_mapping(name) else "VALUE"}
        command = click.option(*names, name, default=None, help=reference.short_help(field), **value)(command)
    return click.option(
        "--config", default=None, metavar="FILE[,FILE]", help="YAML file(s); later files override earlier ones"
    )(command)


class AuditCommand(click.Command):
    """A command with all configuration keys, listed under the headings of the reference."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of the command first, then each group of keys, then the sections."""
        records = {param.name: record for param in self.get_params(ctx) if (record := param.get_help_record(ctx))}
        keys = [name for names in reference.headings().values() for name in names]
        own = [record for name, record in records.items() if name not in keys]
        for heading, rows in [
            ("Options", own),
            *((heading, [records[name] for name in names]) for heading, names in reference.headings().items()),
        ]:
            with formatter.section(heading):
                formatter.write_dl(rows)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="feature-audit")
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def main(verbose: bool) -> None:
    """Which of our N recommender features can production drop, and what is the evidence?"""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, format="%(message)s", stream=sys.stderr, force=True
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(MaskingFilter())
    for noisy in ("alembic", "mlflow", "great_expectations", "matplotlib", "urllib3", "fontTools", "PIL", "git"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # its warnings repeat the error


@main.command(cls=AuditCommand)
@audit_options
def run(config: str | None, **options: Any) -> None:
    """Audit a log: load, baseline, select, retrain, parity."""
    _audit(config, options, until="parity")


def _stage_command(stage: str) -> click.Command:
    @click.option("--audit", default=None, metavar="RUN_ID", help="Parent run of an earlier audit to continue")
    @click.option("--trust", **_SWITCH, help="Run the code that the configuration of this audit names")
    @audit_options
    def command(audit: str | None, trust: str | None, config: str | None, **options: Any) -> None:
        _audit(config, options, until=stage, audit=audit or None, trust=_truth("trust", trust))

    return click.command(
        stage, cls=AuditCommand, help=f"Run the audit up to {stage}; finished stages come from the cache."
    )(command)


for _stage in STAGES:
    main.add_command(_stage_command(_stage))


def _audit(
    config_files: str | None, options: dict[str, Any], *, until: str, audit: str | None = None, trust: bool = False
) -> None:
    if until != "parity" and _truth("gate", options.get("gate")):  # of a file it is for the run that comes later
        raise UsageError(f"gate=true: {until} ends before the verdict, so it has nothing to stop on; give it to run")
    if audit:
        with large_imports(fresh=True):
            from feature_audit.orchestration.settings import config_of

        given = {key: value for key, value in options.items() if value not in (None, "")}
        config = config_of(audit, config_files, given, trust=trust)
    else:
        config = load_config(config_files, options)
    with large_imports(fresh=True):
        from feature_audit.orchestration.run import run_audit  # late, because importing torch takes seconds

    end = run_audit(config, until=until, audit=audit)
    for line in end.lines:
        click.echo(line)
    if end.problem:
        click.echo(f"feature-audit: error: {masked(end.problem)}", err=True)
        sys.exit(1)
    if config.gate and end.verdict is not None:
        sys.exit(GATE_EXIT.get(end.verdict, 1))


@main.command()
@_model_name
@click.option("--version", default=None, help="Model version [the one with the alias prune-candidate]")
@click.option("--force", **_SWITCH, help="Promote without a pass, or a version from older data; needs --reason")
@click.option("--reason", default=None, help="Why the verdict is overridden; recorded")
def promote(model_name: str, version: str | None, force: str | None, reason: str | None) -> None:
    """Move the alias `production` to the recommended version and record the version it replaces."""
    with large_imports(fresh=True):
        from feature_audit.orchestration.promotion import promote as promote_version

    forced = _truth("force", force)
    click.echo(promote_version(model_name or "feature-audit", version or None, force=forced, reason=reason or None))


@main.command()
@_model_name
@click.option("--force", **_SWITCH, help="Roll back even if others moved production")
@click.option("--reason", default=None, help="Reason for the rollback; recorded")
def rollback(model_name: str, force: str | None, reason: str | None) -> None:
    """Restore the version that was in production before the current one."""
    with large_imports(fresh=True):
        from feature_audit.orchestration.promotion import rollback as roll_back

    click.echo(roll_back(model_name or "feature-audit", force=_truth("force", force), reason=reason or None))


@main.command()
@_model_name
def history(model_name: str) -> None:
    """List promotions and rollbacks, oldest first."""
    from feature_audit.orchestration.promotion import history as events

    for line in events(model_name or "feature-audit"):
        click.echo(line)


@main.command("check-model", cls=AuditCommand)
@audit_options
def check_model(config: str | None, **options: Any) -> None:
    """Check your model (--model) or training job (--trainer, --command) against its contract."""
    checked = load_config(config, options)
    with large_imports(fresh=True):
        from feature_audit.orchestration.check_model import check  # late, as in `_audit`

    findings, gated = check(checked)
    for finding in findings:
        click.echo(f"{'ok  ' if finding.passed else 'FAIL'} {finding.check}: {finding.detail}")
    click.echo("\n".join(gated), nl=bool(gated))
    if not all(finding.passed for finding in findings):
        sys.exit(1)


def _truth(key: str, value: str | None) -> bool:
    if value in (None, "", "false", "False", "0", "no"):
        return False
    if value in ("true", "True", "1", "yes"):
        return True
    raise UsageError(f"{key}={value}: give true or false")


def entry() -> None:
    """Run the command line; every error becomes one line on stderr and, under `mlflow run`, a tag."""
    # Read when torch is imported. Threads that sleep while waiting cost a little on an idle machine; on a busy one,
    # spinning threads make two threads many times slower than one (benchmarks/audit/threads.py).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, _terminate)
    try:
        main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.Abort as stop:  # click raises it for KeyboardInterrupt and EOFError
        if isinstance(stop.__cause__, EOFError):
            _fail(f"EOFError: {stop.__cause__}", 1)
        again = "interrupted; run the same command again to continue from the last finished stage"
        _fail(again, 143 if isinstance(stop.__cause__, Terminated) else 130)
    except click.ClickException as error:
        _fail(error.format_message() + _usage_hint(error.format_message()), error.exit_code)
    except AuditError as error:
        if error.__cause__ is not None:
            logging.getLogger(__name__).debug("caused by:", exc_info=error.__cause__)
        _fail(str(error), error.exit_code)
    except Exception as error:  # a bug, a user's model, or a library: one line, the traceback on request
        logging.getLogger(__name__).debug("the traceback:", exc_info=True)
        _fail(f"{type(error).__name__}: {error} (feature-audit -v shows the traceback)", 1)
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # raised by Rust code; derives from BaseException
            raise
        _fail(f"a library crashed ({error}); if it was reading a file, write that file again", 1)


def _usage_hint(message: str) -> str:
    """The remedy that click leaves out, for the mistakes of people who know another command line."""
    if "unexpected extra argument" in message:
        return "; write every setting as an option, such as --data clicks.csv --target clicked"
    return " `feature-audit --help` lists the commands." if "No such command" in message else ""


def _terminate(*_: object) -> NoReturn:
    raise Terminated


def _fail(message: str, code: int) -> None:
    from feature_audit.tracking import tag_error

    line = masked(shortened(message))
    tag_error(line)
    click.echo(f"feature-audit: error: {line}", err=True)
    sys.exit(code)
