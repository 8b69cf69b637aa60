"""promote, rollback and history: acting on a recommendation."""

from __future__ import annotations

from feature_audit.tracking import driver_run, registry


def promote(model_name: str, version: str | None, *, force: bool, reason: str | None) -> str:
    """Promote and return a one-line confirmation; errors as in ``registry.promote``."""
    move = registry.promote(model_name, version, force=force, reason=reason)
    event = move.event
    _name_driver(f"promote v{event.version}: {model_name}")
    if move.repeated:
        return f"version {event.version} of {model_name} has been in production since {event.time}"
    before = f"it replaced version {event.replaced}" if event.replaced else "no version was in production before"
    forced = f" (forced: {event.reason})" if event.forced else ""
    return f"production of {model_name} is now version {event.version}{forced}; {before}"


def rollback(model_name: str, *, force: bool = False, reason: str | None = None) -> str:
    """Roll back and return a one-line confirmation; errors as in ``registry.rollback``."""
    move = registry.rollback(model_name, force=force, reason=reason)
    event = move.event
    _name_driver(f"rollback to {f'v{event.version}' if event.version else 'none'}: {model_name}")
    now = f"is back at production version {event.version}" if event.version else "has no production version again"
    done = f"{model_name} {now}" + (f"; version {event.replaced} was removed" if event.replaced else "")
    return f"{done}; this completed the rollback that was interrupted at {event.time}" if move.repeated else done


def history(model_name: str) -> list[str]:
    """One line per move of ``production``, oldest first, and one line per irregularity."""
    log = registry.history(model_name)
    lines, before = [], None
    for event in log.finished.values():
        if event.replaced != before:
            lines.append(f"{' ' * len(event.time)} moved by other means -> {event.replaced or 'none'}")
        extra = f" forced: {event.reason}" if event.forced else ""
        move = f"{event.action} -> {event.version or 'none'} (was {event.replaced or 'none'})"
        lines.append(f"{event.time} {move} {event.by}{extra}")
        before = event.version
    lines += [
        f"{event.time} {event.action} -> {event.version or 'none'}: in progress" for event in log.unfinished.values()
    ]
    lines += [f"{key}: this tag of {model_name} does not contain a readable event" for key in log.damaged]
    if log.production != before and not log.unfinished:
        lines.append(f"production is now {registry.shown(log.production)}; it was not moved by promote or rollback")
    if log.production and registry.is_withdrawn(model_name, log.production):
        lines.append(f"production is version {log.production}, but its audit withdrew it: roll back, or audit again")
    return lines or [f"{model_name}: no promotion yet"]


def _name_driver(name: str) -> None:
    """Under `mlflow run` the command has its own run; name it after the action."""
    driver = driver_run()
    if driver is not None:
        driver.rename(name)
