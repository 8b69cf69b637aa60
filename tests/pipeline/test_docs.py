"""The documentation: its links are valid, its commands and blocks are accepted by the program, its examples run."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from feature_audit.cli import main
from feature_audit.config import AuditConfig
from feature_audit.config.files import load_config

_ROOT = Path(__file__).parents[2]
_DOCS = _ROOT / "docs"
_PAGES = sorted([*_DOCS.rglob("*.md"), *_ROOT.glob("*.md"), *_ROOT.glob("conf/**/*.md"), _ROOT / "selectors/README.md"])
_SITE = [page for page in _PAGES if page.is_relative_to(_DOCS)]
_PACKAGES = os.pathsep.join([str(_ROOT / "pipeline"), str(_ROOT / "selectors")])
#: An HTML comment before a Python block: it is executed, or written to the file that is named and executed.
#: Pages whose code takes seconds.
_LONG = ("evaluator-plugin", "selectors-in-scikit-learn")
_RUNS = re.compile(r"<!-- runs in tests(?:: (\S+))? -->\n```python\n(.*?)```", re.DOTALL)


def _name(page: Path) -> str:
    return str(page.relative_to(_ROOT))


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as Python-Markdown and GitHub create them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        plain = re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower()
        found.add(re.sub(r"[-\s]+", "-", plain))
    return found


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if page in _SITE:
            assert file.is_relative_to(_DOCS), f"{target}: the site has no page outside docs"
        if anchor and file.suffix == ".md":
            assert anchor in _anchors(file), target


def test_every_page_that_code_names_exists() -> None:
    folders = ("pipeline", "selectors", "conf", "tests", "examples", "benchmarks", "scripts")
    files = [
        file for folder in folders for file in (_ROOT / folder).rglob("*") if file.suffix in (".py", ".yaml", ".j2")
    ]
    named = {
        (name, str(file.relative_to(_ROOT)))
        for file in [*files, _ROOT / "pyproject.toml", _ROOT / "MLproject"]
        for name in re.findall(r"(?<![\w/.])docs/[\w./-]*\w", file.read_text(encoding="utf-8"))
    }
    assert named
    assert sorted(place for place in named if not (_ROOT / place[0]).exists()) == []


def test_every_table_of_results_tells_its_version_and_where_its_raw_figures_are() -> None:
    texts = {page: page.read_text(encoding="utf-8") for page in _PAGES}
    for page in (_DOCS / "results").glob("*.md"):
        text = " ".join(texts[page].split())
        assert re.search(r"Figures: (development versions of )?\d+\.\d+\.\d+, \w+ \d{4}", text), page.name
        assert re.search(r"benchmarks/\w+/results|not kept|without further raw figures", text), page.name
    named = {name for text in texts.values() for name in re.findall(r"(?<![\w/])benchmarks/[\w./-]*\w", text)}
    assert sorted(name for name in named if not (_ROOT / name).exists() and "NAME" not in name) == []
    kept = {str(file.relative_to(_ROOT)) for file in (_ROOT / "benchmarks").glob("*/results/*.csv")}
    assert kept
    assert kept - named == set()


def test_the_navigation_holds_every_page_once() -> None:
    text = (_ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = sorted(re.findall(r"^ +- .*?([\w-]+(?:/[\w-]+)*\.md)$", text, flags=re.MULTILINE))
    assert listed == sorted(page.relative_to(_DOCS).as_posix() for page in _SITE)


def _commands(page: Path) -> Iterator[str]:
    """Lines of code blocks that begin with `feature-audit` or `mlflow run`, and such commands between backticks."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    text = re.sub(r"^```text\n.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)  # output
    text = re.sub(
        r"^```\w*\n.*?^```", lambda block: block[0].replace("\n", "\n    "), text, flags=re.DOTALL | re.MULTILINE
    )
    starts = r"(?:python -m )?(?:feature[-_]audit|mlflow run)\s"
    for line in text.splitlines():
        found = re.match(rf"(?:    |\s*- run: |\s+|.*&& )?({starts}.*)", line)
        if found and (line.startswith("  ") or "&&" in line):
            yield found[1]
    yield from re.findall(rf"`({starts}[^`\n]+)`", text)


def _words(command: str) -> list[str]:
    plain = re.sub(r"\$\{\{.*?\}\}|<[^>]*>", "VALUE", command)
    return shlex.split(re.split(r"\s+(?:2>&1|\||>|#|\.\.\.)", plain)[0], comments=True)


def _check(words: list[str]) -> None:
    """Parse the options of a command as the command line does; unknown ones raise."""
    while words and words[0] in ("-v", "--verbose", "-h", "--help", "--version"):
        words = words[1:]
    if not words:
        return
    command = main.commands[words[0]]
    parent = click.Context(main, **main.context_settings)  # click caches the help option
    context = click.Context(command, info_name=words[0], parent=parent)
    _, left, _ = command.make_parser(context).parse_args(words[1:])
    assert left == [], left


def _as_program(words: list[str]) -> list[str]:
    """The words of the program's own command line, of `mlflow run . -e entry -P key=value` too."""
    if words[:2] == ["python", "-m"]:
        return words[3:]
    if words[0] != "mlflow":
        return words[1:]
    entry = words[words.index("-e") + 1] if "-e" in words else "run"
    given = [words[place + 1] for place, word in enumerate(words) if word == "-P"]
    return ["run" if entry == "main" else entry, *(f"--{value}" for value in given)]


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_every_command_has_options_that_exist(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        return  # it mentions removed options
    for command in _commands(page):
        try:
            _check(_as_program(_words(command)))
        except (click.ClickException, KeyError, AssertionError) as error:
            pytest.fail(f"{command}: {error}")


def test_a_wrong_option_is_found() -> None:
    with pytest.raises(click.NoSuchOption):
        _check(_as_program(_words("feature-audit run --marign 0.001")))
    with pytest.raises(click.NoSuchOption):
        _check(_as_program(_words("mlflow run . -e parity -P adit=RUN")))


@pytest.mark.parametrize("page", [page for page in _SITE if _blocks(page, "yaml")], ids=_name)
def test_yaml_blocks_parse_and_configurations_load(page: Path, tmp_path: Path) -> None:
    for place, block in enumerate(_blocks(page, "yaml")):
        content = yaml.safe_load(block)
        if set(content) & set(AuditConfig.model_fields):
            (tmp_path / f"{place}.yaml").write_text(block, encoding="utf-8")
            load_config(str(tmp_path / f"{place}.yaml"), {})


@pytest.mark.parametrize("page", [page for page in _PAGES if _blocks(page, "python")], ids=_name)
def test_python_blocks_compile(page: Path) -> None:
    for block in _blocks(page, "python"):
        compile(block, _name(page), "exec")


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow) if page.stem in _LONG else page
        for page in _PAGES
        if _RUNS.search(page.read_text("utf-8"))
    ],
    ids=_name,
)
def test_marked_python_blocks_run(page: Path, tmp_path: Path) -> None:
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    for name, block in _RUNS.findall(page.read_text(encoding="utf-8")):
        file = tmp_path / (name or "block.py")
        file.write_text(block, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, file.name],
            cwd=tmp_path,
            env={**surroundings, "PYTHONPATH": _PACKAGES, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]


def _literals() -> str:
    """All string literals of the program's source; f-strings in pieces between their values."""
    texts: list[str] = []
    for file in (_ROOT / "pipeline" / "feature_audit").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def test_the_messages_of_the_troubleshooting_page_are_the_programs() -> None:
    page = (_DOCS / "how-to" / "troubleshooting.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`+)(.+?)\1 \|", page.partition("## No error")[0], flags=re.MULTILINE)
    messages = [message for _, message in rows]
    assert len(messages) >= 25
    literals = _literals()
    for message in messages:
        for piece in filter(None, (part.strip(" .`") for part in message.split("..."))):
            assert piece in literals, f"{message}: no message of the program holds {piece!r}"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="mkdocs-material is not installed; pip install -e '.[docs]'")
    pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed; pip install -e '.[docs]'")
    pytest.importorskip("mkdocs_click", reason="mkdocs-click is not installed; pip install -e '.[docs]'")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": _PACKAGES}
    done = subprocess.run(build, cwd=_ROOT, env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "ClickModel" in (tmp_path / "site" / "how-to" / "own-model" / "index.html").read_text(encoding="utf-8")
