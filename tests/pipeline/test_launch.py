"""The files that start an audit on a cluster, as far as they can be checked without one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from feature_audit import __version__
from feature_audit.cli import main
from feature_audit.config.files import load_config
from processes import wait_until

_ROOT = Path(__file__).parents[2]
_LAUNCH = _ROOT / "conf" / "launch"
_KUBERNETES = _LAUNCH / "kubernetes"
_MLFLOW = _LAUNCH / "mlflow-kubernetes"
_MANIFESTS = [
    _KUBERNETES / "job.yaml",
    _KUBERNETES / "volume.yaml",
    _KUBERNETES / "rayjob.yaml",
    _MLFLOW / "job-template.yaml",
]


def _documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def _pods(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The pod templates of a Job or a RayJob."""
    spec = manifest.get("spec", {})
    if manifest["kind"] == "Job":
        return [spec["template"]]
    if manifest["kind"] == "RayJob":
        cluster = spec["rayClusterSpec"]
        return [group["template"] for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]]
    return []


def _validate(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("path", _MANIFESTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_manifests_follow_the_schemas_of_kubernetes(path: Path) -> None:
    for manifest in _documents(path):
        if manifest["apiVersion"].startswith("ray.io"):  # KubeRay's own kind: its pods are Kubernetes'
            for pod in _pods(manifest):
                _validate({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": pod["spec"]})
        else:
            _validate(manifest)


def test_a_misspelt_key_of_a_manifest_is_found() -> None:
    job = next(each for each in _documents(_KUBERNETES / "job.yaml") if each["kind"] == "Job")
    job["spec"]["backofLimit"] = job["spec"].pop("backoffLimit")
    with pytest.raises(kubernetes_validate.ValidationError):
        _validate(job)


@pytest.mark.parametrize("name", ["job", "rayjob"])
def test_the_audit_in_a_manifest_is_a_valid_configuration(name: str, tmp_path: Path) -> None:
    config_map = next(each for each in _documents(_KUBERNETES / f"{name}.yaml") if each["kind"] == "ConfigMap")
    (tmp_path / "audit.yaml").write_text(config_map["data"]["audit.yaml"], encoding="utf-8")
    config = load_config(str(tmp_path / "audit.yaml"), {})
    mounts = {mount["mountPath"] for pod in _mounting(name) for mount in pod["spec"]["containers"][0]["volumeMounts"]}
    assert any(str(config.work_dir).startswith(mount) for mount in mounts)


def _mounting(name: str) -> list[dict[str, Any]]:
    return [pod for manifest in _documents(_KUBERNETES / f"{name}.yaml") for pod in _pods(manifest)]


@pytest.mark.parametrize("path", _MANIFESTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_volume_that_is_mounted_exists(path: Path) -> None:
    documents = _documents(path) + _documents(_KUBERNETES / "volume.yaml")
    named = {(each["kind"], each["metadata"]["name"]) for each in documents}
    for pod in (pod for manifest in documents for pod in _pods(manifest)):
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        assert {mount["name"] for each in pod["spec"]["containers"] for mount in each["volumeMounts"]} == set(volumes)
        for volume in volumes.values():
            claim, config = volume.get("persistentVolumeClaim"), volume.get("configMap")
            wanted = ("PersistentVolumeClaim", claim["claimName"]) if claim else ("ConfigMap", config["name"])
            assert wanted in named


def test_a_ray_job_keeps_its_nodes_and_runs_on_them() -> None:
    config_map, job = _documents(_KUBERNETES / "rayjob.yaml")
    audit = yaml.safe_load(config_map["data"]["audit.yaml"])
    group = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    assert audit["engine"] == "ray"
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"]


def test_a_job_is_not_repeated_for_a_mistake_or_a_verdict() -> None:
    job = next(each for each in _documents(_KUBERNETES / "job.yaml") if each["kind"] == "Job")
    (rule,) = [each for each in job["spec"]["podFailurePolicy"]["rules"] if each["action"] == "FailJob"]
    names = [each["name"] for each in job["spec"]["template"]["spec"]["containers"]]
    assert rule["onExitCodes"]["containerName"] in names
    assert rule["onExitCodes"]["values"] == [
        2,
        3,
        4,
    ]  # the command line's: bad usage, and with `gate` fail and inconclusive


def test_all_files_start_one_image_of_this_version() -> None:
    files = [*_MANIFESTS, _MLFLOW / "MLproject"]
    images = {name for path in files for name in re.findall(r"image: (registry\S+)", path.read_text(encoding="utf-8"))}
    assert images == {f"registry.example.com/feature-audit:{__version__}"}


def test_the_mlflow_project_for_kubernetes_has_the_entry_points_of_the_main_one() -> None:
    from mlflow.projects._project_spec import load_project

    docker, plain = load_project(str(_MLFLOW)), load_project(str(_ROOT))
    assert docker.docker_env["image"]
    assert set(docker._entry_points) == set(plain._entry_points)
    for name, entry in docker._entry_points.items():
        program, command = entry.command.split()  # the backend starts it without a shell
        assert (program, command) == ("feature-audit", "run" if name == "main" else name)
        assert command in main.commands


def test_the_backend_of_mlflow_reads_its_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    from mlflow.projects import _parse_kubernetes_config

    monkeypatch.chdir(_ROOT)
    backend = _parse_kubernetes_config(json.loads((_MLFLOW / "backend.json").read_text(encoding="utf-8")))
    (container,) = backend["kube-job-template"]["spec"]["template"]["spec"]["containers"]
    assert {"name", "image", "command"} <= set(container)
    assert backend["kube-job-template"]["metadata"]["namespace"]


def test_the_image_copies_what_exists_and_installs_an_extra_that_exists() -> None:
    import tomllib

    dockerfile = (_ROOT / "Dockerfile").read_text(encoding="utf-8")
    sources = [part for line in re.findall(r"^COPY (?!--)(.+)$", dockerfile, re.M) for part in line.split()[:-1]]
    assert sources
    assert all((_ROOT / source).exists() for source in sources)
    ignored = (_ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {f"!{source}" for source in sources} <= set(ignored)
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = re.findall(r"\.whl\)\[(\w+)\]", dockerfile)
    assert extras == ["ray"]
    assert '"ray[default]"' in dockerfile  # the dashboard that a RayJob is handed to
    assert set(extras) <= set(project["project"]["optional-dependencies"])
    users = re.findall(r"^USER (\d+)$", dockerfile, re.M)
    pods = [pod for path in _MANIFESTS for manifest in _documents(path) for pod in _pods(manifest)]
    assert users == [str(pods[0]["spec"]["securityContext"]["runAsUser"])]
    assert len({pod["spec"]["securityContext"]["runAsUser"] for pod in pods}) == 1


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """An environment with fake programs of Slurm, Ray and this project on PATH, which record their arguments."""
    programs = {
        "feature-audit": 'trap \'echo stopped >> "$CALLS"; exit 143\' TERM\necho "feature-audit $*" >> "$CALLS"\n'
        'if [ "${LONG:-}" ]; then sleep 60 & wait $!; fi',
        "scontrol": '[ "$1" = show ] && printf "node1\\nnode2\\n" || echo "scontrol $*" >> "$CALLS"',
        "srun": 'echo "$RAY_ADDRESS srun $*" >> "$CALLS"',
    }
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in programs.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{body}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    slurm = {
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "8",
    }
    calls = str(tmp_path / "calls")
    return {"PATH": f"{folder}:{os.environ['PATH']}", "CALLS": calls, "MLFLOW_TRACKING_URI": "http://mlflow", **slurm}


def _batch(name: str, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    script = str(_LAUNCH / "slurm" / f"{name}.sbatch")
    return subprocess.run(
        ["bash", script, *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def _calls(environment: dict[str, str]) -> list[str]:
    path = Path(environment["CALLS"])
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def test_slurm_hands_the_arguments_on(cluster: dict[str, str]) -> None:
    assert _batch("audit", cluster, "--config", "a b.yaml").returncode == 0
    assert _calls(cluster) == ["feature-audit run --config a b.yaml"]


@pytest.mark.parametrize(
    ("sent", "then"), [(signal.SIGUSR1, ["scontrol requeue 7"]), (signal.SIGTERM, [])], ids=["time is up", "cancelled"]
)
def test_an_audit_whose_time_is_up_is_queued_again_and_a_cancelled_one_is_not(
    sent: signal.Signals, then: list[str], cluster: dict[str, str]
) -> None:
    script = _LAUNCH / "slurm" / "audit.sbatch"
    with subprocess.Popen(["bash", str(script)], env=cluster | {"LONG": "1"}) as job:
        wait_until(lambda: _calls(cluster), process=job)
        job.send_signal(sent)
    assert _calls(cluster) == ["feature-audit run", "stopped", *then]
    assert (job.returncode == 0) is bool(then)
    assert f"#SBATCH --signal=B:{signal.SIGUSR1.name.removeprefix('SIG')}@" in script.read_text(encoding="utf-8")


def test_slurm_starts_a_ray_cluster_on_all_nodes(cluster: dict[str, str]) -> None:
    assert _batch("audit-ray", cluster, "--config", "audit.yaml").returncode == 0
    (call,) = _calls(cluster)
    assert call.startswith(
        "node1:6379 srun ray symmetric-run --address node1:6379 --min-nodes 2 --num-cpus 8 -- feature-audit run"
    )
    assert call.endswith("--engine ray --config audit.yaml")


@pytest.mark.parametrize("name", ["audit", "audit-ray"])
def test_slurm_without_a_tracking_server_ends_at_once(name: str, cluster: dict[str, str]) -> None:
    del cluster["MLFLOW_TRACKING_URI"]
    job = _batch(name, cluster)
    assert job.returncode != 0
    assert "export MLFLOW_TRACKING_URI" in job.stderr
    assert _calls(cluster) == []
