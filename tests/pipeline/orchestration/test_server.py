"""An audit with a real MLflow server; its report opened in a real browser, as a reviewer would open it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click_log import make_log
from mlflow import MlflowClient
from processes import free_port, wait_for_server

ROOT = Path(__file__).parents[3]
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs Debian's chromium and chromium-driver"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an MLflow server on loopback over sqlite."""
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    command = [
        str(Path(sys.executable).with_name("mlflow")), "server", "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for_server(f"{address}/health", process)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def test_the_verdict_is_readable_in_the_artifact_frame(server: str, tmp_path: Path) -> None:
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    make_log().write_parquet(tmp_path / "log.parquet")
    words = "--target clicked --time ts --group user_id --row_id impression --margin 0.01 --model mlp --k 10"
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": server,
        "PYTHONPATH": f"{ROOT / 'pipeline'}{os.pathsep}{ROOT / 'selectors'}",
    }
    command = [sys.executable, "-m", "feature_audit", "run", "--data", str(tmp_path / "log.parquet"), *words.split()]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("feature-audit")
    assert experiment is not None
    run = client.search_runs([experiment.experiment_id], "tags.audit.verdict = 'pass'")[0]

    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--window-size=1500,1000", f"--user-data-dir={tmp_path / 'profile'}",
    ):  # fmt: skip
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    try:
        page = f"{server}/#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}"
        driver.get(page)
        WebDriverWait(driver, 90).until(lambda d: "pass" in d.find_element(By.TAG_NAME, "body").text.lower())
        driver.get(f"{page}/artifacts/report/index.html")
        frame = WebDriverWait(driver, 90).until(lambda d: d.find_element(By.TAG_NAME, "iframe"))
        driver.switch_to.frame(frame)
        heading = WebDriverWait(driver, 30).until(lambda d: d.find_element(By.TAG_NAME, "h1"))
        assert "pass" in heading.text.lower()
        driver.switch_to.default_content()
        picture = Path(os.environ.get("SCREENSHOTS", tmp_path)) / "report-in-mlflow.png"
        driver.save_screenshot(str(picture))
    finally:
        driver.quit()
    assert picture.stat().st_size > 20_000
