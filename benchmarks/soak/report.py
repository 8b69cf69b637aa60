"""Size of the report on a table with very many features, and the time that a browser needs to open it.

usage: PYTHONPATH=pipeline:selectors:tests/helpers python benchmarks/soak/report.py [--features 20000]

Renders a report like that of a real audit and opens it in headless Chromium (needs chromium-driver and selenium).
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from feature_audit.report import render_html
from report_factory import make_report
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")


def main() -> None:
    """Render, open, filter; print seconds and megabytes."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--features", type=int, default=20_000)
    features = options.parse_args().features
    began = time.perf_counter()
    markup = render_html(make_report(n_features=features, k=features // 10))
    rendered = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(markup, encoding="utf-8")
        browser_options = webdriver.ChromeOptions()
        browser_options.binary_location = shutil.which("chromium") or ""
        for flag in FLAGS:
            browser_options.add_argument(flag)
        service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
        browser = webdriver.Chrome(options=browser_options, service=service)
        try:
            opened = time.perf_counter()
            browser.get(page.as_uri())
            WebDriverWait(browser, 120).until(lambda one: one.find_elements("css selector", "h1"))
            loaded = time.perf_counter()
            rows = browser.execute_script("return document.querySelectorAll('table tr').length")
            memory = browser.execute_script("return performance.memory.usedJSHeapSize") / 1e6
            errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        finally:
            browser.quit()
    print(f"{features:,} features: {len(markup.encode()) / 1e6:.1f} MB of HTML, rendered in {rendered - began:.1f} s")
    print(f"  opened in Chromium in {loaded - opened:.1f} s, {rows:,} table rows, {memory:.0f} MB of JavaScript heap")
    print(f"  errors on the console: {len(errors)}")


if __name__ == "__main__":
    main()
