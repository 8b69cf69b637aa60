"""Settings that must be in place before any test imports torch."""

import gc
import logging
import os
import re
from collections import Counter
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

# As in `feature_audit.cli.entry`: two test workers share two cores, so a waiting thread must not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

# A limit in wall-clock time would fail a property because the machine is busy, and examples that are drawn anew in each
# run would fail it because of chance; with FUZZ_EXAMPLES they are.
settings.register_profile(
    "patient",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="FUZZ_EXAMPLES" not in os.environ,
)
settings.load_profile("patient")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """No garbage collection while the test modules are imported; later ones skip what the imports leave."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    """The command line sends the log to stderr, which pytest replaces for each test; no handler outlives its test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many faults and hostile inputs were handled, and of how many (one table in CI).

    A test of several cases reports their number with ``record_property("cases", n)``.
    """
    tried: Counter[str] = Counter()
    held: Counter[str] = Counter()
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            suite = re.match(r"tests/(?:faults/test_(\w+)|pipeline/stages/test_(hostile_\w+))\.py", report.nodeid)
            if suite is None or (report.when != "call" and outcome != "error"):
                continue
            cases = int(dict(report.user_properties).get("cases", 1))
            name = (suite[1] or suite[2]).replace("_", " ")
            tried[name] += cases
            held[name] += cases * (outcome == "passed")
    if tried:
        terminalreporter.section("reliability: cases that ended as they should")
        for name in sorted(tried):
            terminalreporter.write_line(f"{name:24}{held[name]:7,} of {tried[name]:,}")
