"""Lists in text cells: distinguished from plain text by their parts, split, and read the same way in serving."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import pytest
from data_helpers import prepared_of
from feature_audit.data import Encoders
from feature_audit.data.columns.kinds import infer_kind
from feature_audit.data.columns.lists import list_format, split
from feature_audit.errors import AuditError

pytestmark = pytest.mark.usefixtures("without_expectations")

ROWS = 1_200
CODES = [f"c{number}" for number in range(40)]
TOPICS = ["sport", "news", "music", "food", "travel", "cars", "film", "kids", "tech", "art", "pets", "golf", "wine"]
Rng = np.random.Generator


def cells(make: Callable[[Rng], str], seed: int = 0) -> pl.Series:
    rng = np.random.default_rng(seed)
    return pl.Series("cell", [make(rng) for _ in range(ROWS)])


def some(rng: Rng, of: Sequence[str], low: int = 1, high: int = 6) -> list[str]:
    return [str(one) for one in rng.choice(of, rng.integers(low, high + 1), replace=False)]


def weighted(rng: Rng, mark: str = ":", digits: int = 2) -> list[str]:
    return [f"{topic}{mark}{rng.random():.{digits}f}" for topic in some(rng, TOPICS)]


def sentence(rng: Rng, low: int, high: int) -> str:
    """Words by Zipf's law, as in natural text, where half of the distinct words occur only once."""
    ranks = np.minimum(rng.zipf(1.3, rng.integers(low, high)), 200_000)
    return " ".join("".join(chr(97 + int(digit)) for digit in str(rank)) + "er"[: rank % 3] for rank in ranks)


def path(rng: Rng, sign: str) -> str:
    first, second, third = rng.integers(0, 3), rng.integers(0, 5), rng.integers(0, 6)
    steps = [["Men", "Women", "Kids"][first], f"Shop {first}{second}", f"Shelf {first}{second}{third}"]
    return sign.join(steps[: rng.integers(1, 4)])


LISTS = {
    "hat": ("^", lambda rng: "^".join(some(rng, CODES))),
    "space": (" ", lambda rng: " ".join(some(rng, CODES))),
    "space, plain words": (" ", lambda rng: " ".join(some(rng, TOPICS))),
    "space, a large catalogue": (" ", lambda rng: " ".join(map(str, rng.integers(0, 5_000, rng.integers(1, 12))))),
    "comma": (",", lambda rng: ",".join(some(rng, CODES))),
    "comma and space": (",", lambda rng: ", ".join(some(rng, TOPICS))),
    "comma, sorted": (",", lambda rng: ",".join(sorted(some(rng, TOPICS)))),
    "comma, always three": (",", lambda rng: ",".join(some(rng, TOPICS, 3, 3))),
    "comma, at most two": (",", lambda rng: ",".join(some(rng, TOPICS, 1, 2))),
    "tab": ("\t", lambda rng: "\t".join(some(rng, CODES))),
    "tilde": ("~", lambda rng: "~".join(some(rng, CODES))),
    "two colons": ("::", lambda rng: "::".join(some(rng, CODES))),
    "ampersand": ("&", lambda rng: "&".join(some(rng, TOPICS))),
    "slash": ("/", lambda rng: " / ".join(some(rng, TOPICS))),
    "hashtags": ("#", lambda rng: " ".join(f"#{topic}" for topic in some(rng, TOPICS))),
    "underscore": ("_", lambda rng: "_".join(some(rng, CODES))),
    "semicolon": (";", lambda rng: "; ".join(some(rng, TOPICS))),
    "JSON numbers": ("[,]", lambda rng: str(rng.integers(0, 40, rng.integers(0, 7)).tolist())),
    "JSON texts": ("[,]", lambda rng: str(some(rng, TOPICS)).replace("'", '"')),
    "Python texts": ("[,]", lambda rng: str(some(rng, TOPICS))),
    "Postgres array": ("[,]", lambda rng: "{" + ",".join(some(rng, TOPICS)) + "}"),
    "NumPy": ("[ ]", lambda rng: str(rng.integers(0, 40, rng.integers(1, 7)))),
    "weights": (":w|", lambda rng: "|".join(weighted(rng))),
    "weights, equal sign": (":w;", lambda rng: ";".join(weighted(rng, "=", 1))),
    "weights, LIBSVM": (":w ", lambda rng: " ".join(f"{code[1:]}:{rng.random():.3f}" for code in some(rng, CODES))),
    "weights, JSON object": ("[:w,]", lambda rng: str({t: round(rng.random(), 3) for t in some(rng, TOPICS)})),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_are_found(name: str) -> None:
    form, make = LISTS[name]
    text = cells(make)
    assert list_format(text) == form
    assert infer_kind("x", pl.String(), text) == "multi"
    parts = set(split(text, form).explode().drop_nulls())
    words = {*TOPICS, *CODES, *map(str, range(5_000))}
    assert len(parts) >= 13
    assert parts <= words


AGENTS = ("Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15", "X11; Linux x86_64", "iPhone; CPU OS 14_2")
FAMILY = ("Smith", "Jones", "Miller", "Thomas", "James", "Brown", "Lee", "Kim")
GIVEN = ("John", "Mary", "Ann", "Paul", "Lisa", "Thomas", "James", "Kim")
CITIES = ("Berlin", "Paris", "New York", "San Jose", "Bonn")
TEXTS = {
    "titles": lambda rng: sentence(rng, 2, 8).title(),
    "sentences": lambda rng: sentence(rng, 6, 20) + ".",
    "sentences with commas": lambda rng: ", ".join(sentence(rng, 3, 7) for _ in range(3)),
    "family, given": lambda rng: f"{rng.choice(FAMILY)}, {rng.choice(GIVEN)}",
    "full names": lambda rng: " ".join([*some(rng, GIVEN, 1, 2), str(rng.choice(FAMILY))]),
    "addresses": lambda rng: f"{rng.integers(200)} {rng.choice(['Oak', 'Main'])} St, {rng.choice(CITIES)}, {rng.integers(9**5)}",  # noqa: E501
    "URLs": lambda rng: f"https://a.com/{rng.choice(TOPICS)}/{rng.choice(CODES)}?a={rng.integers(9)}&b={rng.integers(9)}&c=1",
    "user agents": lambda rng: f"Mozilla/5.0 ({rng.choice(AGENTS)}) AppleWebKit/537.{rng.integers(40)} (KHTML, like Gecko)",  # noqa: E501
    "product names": lambda rng: f"{rng.choice(['Sony', 'LG'])} {rng.choice(['TV', 'Phone'])} {rng.choice(['S1', 'Pro'])}"  # noqa: E501
    + str(rng.choice(["", " black", " white 64GB"])),
    "categories with &": lambda rng: str(rng.choice(["Home & Garden", "Sports, Toys & Games", "Film, TV & Music", "Books"])),  # noqa: E501
    "breadcrumbs": lambda rng: path(rng, " > "),
    "paths": lambda rng: path(rng, "/"),
    "job titles": lambda rng: str(rng.choice(["", "Senior ", "Lead "]))
    + f"{rng.choice(['Data', 'Sales', 'Test'])} {rng.choice(['Engineer', 'Manager'])}",
    "thousands": lambda rng: f"{np.exp(rng.normal(9, 3)):,.0f}",
    "decimal commas": lambda rng: f"{rng.exponential(5):.2f}".replace(".", ","),
    "telephone numbers": lambda rng: f"030-{rng.integers(100, 999)}-{rng.integers(1000, 9999)}",
    "card numbers": lambda rng: " ".join(f"{part:04d}" for part in rng.integers(0, 9999, 4)),
    "intervals": lambda rng: str(rng.choice(["(0, 10]", "(10, 20]", "[20, 30]", "[30, 40]"])),
    "objects": lambda rng: str({"device": str(rng.choice(["ios", "web"])), "v": int(rng.integers(9))}),
    "durations": lambda rng: str(rng.choice(["", "3h ", "4h "])) + f"{rng.integers(60)}m {rng.integers(60)}s",
    "campaigns": lambda rng: "_".join([str(rng.choice(["us", "de"])), str(rng.choice(["brand", "shop"])), "2021"][: rng.integers(2, 4)]),  # noqa: E501
    "degrees of praise": lambda rng: str(rng.choice(["very good", "good", "not bad", "bad", "very bad"])),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_plain_text_is_not_split(name: str) -> None:
    text = cells(TEXTS[name])
    assert list_format(text) is None
    assert infer_kind("x", pl.String(), text) in ("categorical", "numeric")


def test_vectors_and_lists_of_quantities_are_numbers(tmp_path) -> None:
    place = cells(lambda rng: f"[{rng.normal():.4f}, {rng.normal():.4f}, {rng.normal():.3f}]")
    assert infer_kind("place", pl.String(), place) == "vector"
    seconds = cells(lambda rng: "|".join(f"{second:.2f}" for second in rng.exponential(5, rng.integers(1, 6))))
    made, store = prepared_of(pl.DataFrame({"place": place, "seconds": seconds, "y": [0, 1] * (ROWS // 2)}), tmp_path)
    assert {field.name: field.form for field in made.schema.fields} == {"place": "vector", "seconds": "bag"}
    batch = next(iter(store.batches("train", 64)))
    assert abs(float(batch.vectors[0].mean())) < 0.5
    assert batch.bags[0].max() > 20, "quantile ranges, not words that are never seen again"


def log(text: pl.Series, **more: object) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    return pl.DataFrame({"x": text, "z": rng.normal(size=len(text)), "y": rng.integers(0, 2, len(text)), **more})


def test_the_format_is_served_as_it_was_learned(tmp_path) -> None:
    made, _ = prepared_of(log(cells(LISTS["weights"][1])), tmp_path)
    encoders = Encoders.load(made.directory / "encoders.json")
    as_text = encoders.encode_column("x", pl.Series("x", ["news:0.9|golf:.1", "unseen:1", None]))
    as_list = encoders.encode_column("x", pl.Series("x", [["news", "golf"], ["unseen"], None]))
    assert as_text.tolist() == as_list.tolist()
    assert (as_text[0, :2] > 1).all()
    notes = [finding.detail for finding in made.findings if finding.column == ""]
    assert any("x (':w|')" in note and "weights" in note and "reader.list_separator" in note for note in notes)


def test_the_key_decides(tmp_path) -> None:
    frame = log(
        cells(lambda rng: str(rng.choice(["Home+Garden", "Toys+Games", "Books"]))), tags=cells(TEXTS["job titles"])
    )
    plain, _ = prepared_of(frame, tmp_path)
    assert {column.name: column.kind for column in plain.columns} == {
        "x": "categorical",
        "z": "numeric",
        "tags": "categorical",
    }
    for given, kinds in (
        ({"x": "+"}, ("multi", "categorical")),
        ("+", ("multi", "categorical")),
        ({"*": " "}, ("categorical", "multi")),
    ):
        made, _ = prepared_of(frame, tmp_path, reader={"list_separator": given})
        found = {column.name: column.kind for column in made.columns}
        assert (found["x"], found["tags"]) == kinds
        assert not any("reader.list_separator" in finding.detail for finding in made.findings)
    with pytest.raises(AuditError, match=r"reader\.list_separator\.z='\+': the column is Float64, not text"):
        prepared_of(frame, tmp_path, reader={"list_separator": {"z": "+"}})
    with pytest.raises(AuditError, match=r"reader\.list_separator=tag: no such column; did you mean tags"):
        prepared_of(frame, tmp_path, reader={"list_separator": {"tag": "+"}})


@pytest.mark.parametrize("text", [True, False])
def test_long_lists_keep_the_recent_end_and_the_rest_is_counted(tmp_path, text: bool) -> None:
    """Of forty entries, the last ten decide; a key selects the other end, and a finding reports a wrong end."""
    rng = np.random.default_rng(3)
    taste, items = rng.normal(size=20), rng.integers(0, 20, (4_000, 40))
    clicked = rng.random(4_000) < 1 / (1 + np.exp(-6 * taste[items[:, -10:]].mean(1)))
    rows = [[f"i{item}" for item in row] for row in items]
    rows[:2_000] = [row if number % 4 else row[-10:] for number, row in enumerate(rows[:2_000])]
    frame = pl.DataFrame({"seen": ["|".join(row) for row in rows] if text else rows, "y": clicked.astype(int)})
    keys = {"encoding": {"max_list_length": 10, "min_count": 1}}
    made, store = prepared_of(frame, tmp_path, **keys)
    train = len(store.target("train"))
    detail = next(finding.detail for finding in made.findings if finding.column == "seen")
    cut = int(detail.split(" of ")[0].replace(",", ""))
    assert 0.8 * train < cut < train
    assert f"{cut:,} of {train:,}" in detail
    assert "encoding.max_list_length=10" in detail
    assert not any("predict better" in finding.detail for finding in made.findings)
    encoders = Encoders.load(made.directory / "encoders.json")
    assert (
        encoders.encode_column("seen", frame["seen"][1:2]).tolist()
        == encoders.encode_column("seen", pl.Series([rows[1][-10:]])).tolist()
    )
    made, _ = prepared_of(frame, tmp_path, encoding={**keys["encoding"], "list_end": "first"})
    assert any(
        "seen: the last 10 entries predict better" in f.detail and "list_end: last" in f.detail for f in made.findings
    )
    encoders = Encoders.load(made.directory / "encoders.json")
    assert (
        encoders.encode_column("seen", frame["seen"][1:2]).tolist()
        == encoders.encode_column("seen", pl.Series([rows[1][:10]])).tolist()
    )
