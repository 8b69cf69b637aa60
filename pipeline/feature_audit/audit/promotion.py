"""promote, rollback, history: what a person does with a recommendation."""

from __future__ import annotations

from feature_audit.tracking import driver_run, registry


def promote(model_name: str, version: str | None, *, force: bool, reason: str | None) -> str:
    """Promote and say so in one sentence; errors as in ``registry.promote``."""
    event = registry.promote(model_name, version, force=force, reason=reason)
    before = f"it replaced version {event.replaced}" if event.replaced else "no version was in production before"
    _name_driver(f"promote v{event.version}: {model_name}")
    forced = f" (forced: {event.reason})" if event.forced else ""
    return f"production of {model_name} is now version {event.version}{forced}; {before}"


def rollback(model_name: str) -> str:
    """Roll back and say so in one sentence; errors as in ``registry.rollback``."""
    event = registry.rollback(model_name)
    _name_driver(f"rollback to {f'v{event.version}' if event.version else 'none'}: {model_name}")
    now = f"is back to production version {event.version}" if event.version else "has no production version again"
    return f"{model_name} {now}" + (f"; version {event.replaced} was removed" if event.replaced else "")


def history(model_name: str) -> list[str]:
    """One line per event, oldest first."""
    lines = []
    for event in registry.history(model_name):
        extra = f" forced: {event.reason}" if event.forced else ""
        move = f"{event.action} -> {event.version or 'none'} (was {event.replaced or 'none'})"
        lines.append(f"{event.time} {move} {event.by}{extra}")
    return lines or [f"{model_name}: no promotion yet"]


def _name_driver(name: str) -> None:
    """Under `mlflow run` the command has a run of its own, between the audits: it says what it did."""
    driver = driver_run()
    if driver is not None:
        driver.rename(name)
