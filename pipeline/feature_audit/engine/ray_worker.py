"""Code for workers of a Ray cluster. Its source is sent with the task, as the worker may have another installation."""

from __future__ import annotations

from typing import Any


def work(sent: dict[str, Any]) -> tuple[str, Any]:
    """Run a job, if this worker has the same environment as the driver.

    Args:
        sent: ``paths`` (the driver's import paths), ``folder`` (its working directory), ``environment`` (inputs of its
            results), ``threads``, ``leaves`` (the folder of the results), ``label`` and ``job``, in the form of
            ``engine.jobs.sealed``.

    Returns:
        ``refused`` and the reason, or ``done`` and the result of ``engine.jobs.attempt``.
    """
    import os
    import socket
    import sys
    from pathlib import Path

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported; see feature_audit.cli
    here = f"node {socket.gethostname()}"
    if os.path.isdir(sent["folder"]):
        os.chdir(sent["folder"])
    sys.path[:0] = [path for path in sent["paths"] if path not in sys.path]
    try:
        from feature_audit.engine.environment import environment
        from feature_audit.engine.jobs import attempt
        from feature_audit.engine.process import tune_process
    except ImportError as error:
        return (
            "refused",
            f"{here} cannot import feature_audit ({error}); install the same version on every node",
        )
    ours = environment()
    for name, theirs in sent["environment"].items():
        if ours.get(name) != theirs:
            what = "other code" if name == "code" else f"another version of {name.removeprefix('version.')}"
            return "refused", (
                f"{here} has {what} ({ours.get(name)}) than the driver ({theirs}); install the same version on every "
                "node, or use one image for all nodes"
            )
    folder = Path(sent["leaves"])
    if not folder.is_dir():
        return "refused", f"{here} cannot access {folder}; put work_dir on a file system that all nodes share"
    tune_process(sent["threads"])
    return "done", attempt(sent["job"], sent["label"], folder)
