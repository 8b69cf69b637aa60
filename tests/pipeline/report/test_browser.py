"""The report in a real browser, framed as MLflow frames an HTML artifact: sandboxed, a blob, no origin."""

import functools
import http.server
import json
import os
import re
import shutil
import threading

import pytest
from feature_audit.report import render_html, view
from page import Page
from report_factory import HOSTILE, make_report

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(os.environ.get("SKIP_BROWSER") == "1", reason="SKIP_BROWSER=1"),
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs Debian's chromium and chromium-driver"),
]
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-component-update", "--force-prefers-reduced-motion", "--disable-dev-shm-usage",
)  # fmt: skip
#: What MLflow's artifact page does with an HTML artifact; the frame is narrow because the page has side panels.
HOST = """<!DOCTYPE html><title>host</title><body style="margin:0"><script>
fetch("report.html", {cache: "no-store"}).then((answer) => answer.text()).then((text) => {
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts";
  frame.style = "border:0;width:100%;height:100vh;display:block";
  frame.src = URL.createObjectURL(new Blob([text], {type: "text/html"}));
  document.body.append(frame);
});
</script>"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder served on loopback and its address."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "host.html").write_text(HOST, encoding="utf-8")
    (folder / "favicon.ico").write_bytes(b"")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=615,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    # A browser that hangs on a busy machine fails a test in a minute, not after the client's two minutes per call.
    browser.set_page_load_timeout(60)
    browser.set_script_timeout(60)
    yield browser
    browser.quit()


@pytest.fixture
def show(driver, site):
    """Open a report in the sandboxed frame and step into it; afterwards, the console must be silent."""
    from selenium.webdriver.support.ui import WebDriverWait

    folder, address = site

    def opened(report, width=615):
        markup = render_html(report)
        (folder / "report.html").write_text(markup, encoding="utf-8")
        driver.switch_to.default_content()
        driver.set_window_size(width, 900)
        driver.get(f"{address}/host.html")
        wait = WebDriverWait(driver, 20)
        driver.switch_to.frame(wait.until(lambda browser: browser.find_element("tag name", "iframe")))
        wait.until(lambda browser: browser.execute_script("return document.readyState") == "complete")
        wait.until(lambda browser: browser.find_elements("css selector", "h1"))
        return markup

    yield opened
    noise = [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert not noise, noise


def rows(driver, table="features-table"):
    """The visible cells of a searchable table, row by row."""
    lines = "[...document.querySelectorAll(`#${arguments[0]} tbody tr`)]"
    return driver.execute_script(f"return {lines}.map(row => [...row.children].map(c => c.textContent.trim()))", table)


def status(driver):
    return driver.find_element("css selector", "#features [role=status]").text


def head(driver, title):
    return driver.find_element("xpath", f"//table[@id='features-table']//th[@scope='col'][contains(., '{title}')]")


@pytest.mark.parametrize(
    "verdict", ["pass", "fail", *(pytest.param(name, marks=pytest.mark.slow) for name in ("inconclusive", "error"))]
)
def test_reads_the_verdict_in_the_sandboxed_frame(show, driver, verdict):
    report = make_report(verdict)
    show(report)
    assert driver.execute_script("return window.origin") == "null"
    heading = driver.find_element("css selector", "h1 > span")
    assert heading.is_displayed()
    assert heading.text.endswith(verdict.title())
    assert driver.find_element("css selector", ".headline").text == view.headline(report)
    assert driver.find_element("css selector", ".sentence").text == view.sentence(report)
    assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0


def test_script_writes_the_same_cells_as_the_template(show, driver):
    """The page must not change when the script takes over."""
    page = Page(show(make_report(n_features=800, k=20, hostile=True)))
    spaceless = functools.partial(re.sub, r"\s+", "")
    static = [
        spaceless(one.text)
        for one in page.all("tr")
        if "tbody" in one.parents and {"badge", "number"} <= _kinds(page, one)
    ]
    live = [spaceless("".join(cells)) for cells in rows(driver)]
    assert len(live) == 50
    assert live == [text for text in static if text in set(live)]
    assert set(live) <= set(static)


def _kinds(page, row):
    at = page.elements.index(row)
    kinds = set()
    for one in page.elements[at + 1 :]:
        if one.tag == "tr":
            break
        kinds |= one.classes
    return kinds


def test_search_filter_sort_and_page(show, driver):
    from selenium.webdriver.common.keys import Keys

    report = make_report(n_features=420, k=120)
    show(report)
    assert status(driver) == "1 to 50 of 420 features"

    search = driver.find_element("css selector", "#features input[type=search]")
    texts = [f"{row.feature} {row.reason} {row.group}" for row in report.decisions]
    wanted = [text for text in texts if "bookings" in text and "redundant" in text]
    assert 0 < len(wanted) < 50
    search.send_keys("bookings redundant")
    assert {cells[1].split()[-1] for cells in rows(driver)} == {"drop"}
    assert status(driver) == f"1 to {len(wanted)} of {len(wanted)} features matching, of 420"
    search.send_keys(Keys.ENTER)
    assert status(driver).startswith("1 to"), "Enter must not submit or reload anything"
    search.clear()
    search.send_keys(" ")
    search.send_keys(Keys.BACKSPACE)
    assert status(driver) == "1 to 50 of 420 features"

    # By keyboard: every header is a button.
    button = head(driver, "Score").find_element("tag name", "button")
    button.send_keys(Keys.ENTER)
    assert head(driver, "Score").get_attribute("aria-sort") == "descending"
    best = sorted(report.decisions, key=lambda row: -row.score)[:50]
    assert [cells[0].startswith(row.feature) for cells, row in zip(rows(driver), best, strict=True)] == [True] * 50
    button.send_keys(Keys.SPACE)
    assert head(driver, "Score").get_attribute("aria-sort") == "ascending"
    assert rows(driver)[0][0].startswith(min(report.decisions, key=lambda row: row.score).feature)
    head(driver, "Rank").find_element("tag name", "button").click()
    assert [head(driver, name).get_attribute("aria-sort") for name in ("Score", "Rank")] == ["none", "ascending"]

    driver.find_element("css selector", "#features [data-filter=review]").click()
    assert {cells[1].split()[-1] for cells in rows(driver)} == {"review"}
    driver.find_element("css selector", "#features [data-filter='']").click()
    following = driver.find_element("css selector", "#features [data-step='1']")
    following.click()
    assert status(driver) == "51 to 100 of 420 features"
    assert rows(driver)[0][2] == "51"

    search.send_keys("no such feature")
    assert "No matches" in rows(driver)[0][0]
    assert not following.is_enabled()


def test_ten_thousand_features_answer_at_once(show, driver):
    show(make_report(n_features=10_000, k=300, hostile=True))
    spent = driver.execute_script(
        """
        const search = document.querySelector("#features input[type=search]");
        const start = performance.now();
        for (const text of ["u", "us", "user", "user_ctr", ""]) {
          search.value = text;
          search.dispatchEvent(new Event("input"));
        }
        document.querySelectorAll("#features-table thead button").forEach((button) => button.click());
        return performance.now() - start;
        """
    )
    # 5 searches and 6 to 10 sorts; about 0.3 s on the slowest machine so far. A second for one of them is acceptable.
    assert spent < 5_000
    assert len(rows(driver)) == 50


@pytest.mark.parametrize("width", [600, 1400])
def test_hostile_names_are_inert_and_do_not_widen_the_page(show, driver, width):
    show(make_report(n_features=1000, k=200, hostile=True), width=width)
    wider = driver.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0
    assert driver.execute_script("return document.querySelectorAll('img, iframe').length") == 0
    shown = driver.execute_script(
        "return [...document.querySelectorAll('#features-table .feature')].map(n => n.textContent)"
    )
    assert set(HOSTILE) & set(shown)
    search = driver.find_element("css selector", "#features input[type=search]")
    search.send_keys("<img src=x onerror")
    assert rows(driver)[0][0].startswith(HOSTILE[0])


def test_dark_light_and_print(site, driver):
    folder, address = site
    (folder / "look.html").write_text(render_html(make_report()), encoding="utf-8")
    driver.switch_to.default_content()
    driver.get(f"{address}/look.html")
    ground = "return getComputedStyle(document.body).backgroundColor"
    seen = {}
    for scheme in ("light", "dark"):
        media = {"media": "", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        seen[scheme] = driver.execute_script(ground)
    assert seen["light"] != seen["dark"]
    # A dark screen still prints dark on white.
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {**media, "media": "print"})
    assert driver.execute_script(ground) == "rgb(255, 255, 255)"
    assert not driver.find_element("tag name", "nav").is_displayed()
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_links_and_details_work_without_an_origin(show, driver):
    from selenium.webdriver.support.ui import WebDriverWait

    show(make_report())
    driver.find_element("css selector", "nav a[href='#provenance']").click()
    top = "return document.getElementById('provenance').getBoundingClientRect().top"
    WebDriverWait(driver, 10).until(lambda browser: browser.execute_script(top) < 900)
    assert driver.execute_script("return document.activeElement.id") == "provenance"
    details = driver.find_element("css selector", "#provenance details")
    details.find_element("tag name", "summary").click()
    assert details.get_attribute("open")


def test_without_javascript_the_first_page_and_a_note_are_there(site, driver):
    folder, address = site
    markup = render_html(make_report(n_features=420))
    (folder / "plain.html").write_text(markup, encoding="utf-8")
    driver.switch_to.default_content()
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        driver.get(f"{address}/plain.html")
        assert not driver.find_element("css selector", "#features .controls").is_displayed()
        assert "First 50 of 420 features" in driver.find_element("css selector", "#features [data-static]").text
        assert len(driver.find_elements("css selector", "#features-table tbody tr")) == 50
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert json.loads(Page(markup).by_id("features-rows").text)["noun"] == "features"
