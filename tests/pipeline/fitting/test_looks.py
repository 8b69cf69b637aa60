"""The file of looks at a table's test rows: numbers never change, even with several writers."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from feature_audit.fitting.looks import Look, coming_look, learn_looks, take_look


def look(folder: Path, key: str, planned: int = 1, confidence: float = 0.95, family: str = "table") -> Look:
    return take_look(folder, family, key, planned=planned, confidence=confidence)


def file(folder: Path) -> Path:
    [path] = folder.glob("*/*.jsonl")
    return path


def test_the_same_question_is_the_look_that_it_was(tmp_path: Path) -> None:
    first = look(tmp_path, "a")
    assert [look(tmp_path, key).number for key in ("b", "a", "c", "b", "a")] == [2, 1, 3, 2, 1]
    assert look(tmp_path, "a") == first
    assert first.judged_at == pytest.approx(0.95)
    assert first.next_judged_at == look(tmp_path, "b").judged_at == pytest.approx(0.9975)
    assert look(tmp_path, "a", family="another table").number == 1


def test_the_coming_look_is_known_before_it_is_taken(tmp_path: Path) -> None:
    """Identified by the question with the configured numbers of trainings, so that a repeated plan does not change."""

    def coming(asked: str, planned: int = 1) -> Look:
        return coming_look(tmp_path, "table", asked, planned=planned, confidence=0.95)

    assert (coming("auto", planned=2).number, coming("auto", planned=2).planned) == (1, 2)
    assert not list(tmp_path.iterdir()), "nothing is recorded"
    taken = take_look(tmp_path, "table", "3 + 3", planned=1, confidence=0.95, asked="auto")
    assert coming("auto", planned=2).judged_at == taken.judged_at == pytest.approx(0.95)
    assert coming("nine").judged_at == pytest.approx(0.9975)
    take_look(tmp_path, "table", "9 + 9", planned=1, confidence=0.95, asked="nine")
    assert [coming(asked).number for asked in ("auto", "nine", "another")] == [1, 2, 3]
    learn_looks(tmp_path / "elsewhere", "table", [taken.record])
    assert coming_look(tmp_path / "elsewhere", "table", "auto", planned=1, confidence=0.95).number == 1


def test_looks_are_not_mentioned_if_there_is_only_one(tmp_path: Path) -> None:
    assert look(tmp_path, "a").sentence == ""
    assert "look 2 at these test rows. It is judged at 99.75%" in look(tmp_path, "b").sentence
    assert "a confidence of 95%" in look(tmp_path, "b").sentence


def test_looks_are_planned_before_the_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = look(tmp_path, "a", planned=2)
    assert first.judged_at > 0.99
    assert "look 1 of 2 planned" in first.sentence
    assert not caplog.records
    second = look(tmp_path, "b", planned=9)
    assert second.planned == 2
    assert second.judged_at == pytest.approx(first.next_judged_at)
    assert "looks=9 has no effect" in caplog.text
    assert look(tmp_path, "c", planned=2).judged_at == pytest.approx(0.9975)


@pytest.mark.parametrize("damage", ["{half a li", "", "[]", '{"key": 3, "planned": "many"}', "\x00\x00", "null"])
def test_a_line_that_cannot_be_read_counts_as_a_look(tmp_path: Path, damage: str) -> None:
    look(tmp_path, "a")
    look(tmp_path, "b")
    lines = file(tmp_path).read_text().split("\n")
    place = next(place for place, line in enumerate(lines) if '"b"' in line)
    lines[place] = damage or "?"
    file(tmp_path).write_text("\n".join(lines).rstrip("\n"), newline="")  # and its end is cut off, too
    assert look(tmp_path, "a").number == 1
    assert look(tmp_path, "b").number == 3, "its line is lost: asked again it is a new question"
    assert look(tmp_path, "c").number == 4


def test_every_line_that_cannot_be_read_counts(tmp_path: Path) -> None:
    look(tmp_path, "a")
    with file(tmp_path).open("a") as lines:
        lines.write("?\n?\n")
    assert look(tmp_path, "b").number == 4


def test_without_the_first_line_nothing_was_planned(tmp_path: Path) -> None:
    look(tmp_path, "a", planned=3)
    file(tmp_path).write_text("?")
    assert look(tmp_path, "b", planned=3).judged_at == pytest.approx(0.9975)


def test_no_two_processes_get_the_same_number(tmp_path: Path) -> None:
    keys = [f"question {number}" for number in range(40)] + ["the same"] * 10
    with ProcessPoolExecutor(4) as processes:
        looks = list(processes.map(look, [tmp_path] * len(keys), keys))
    own = [one.number for one in looks[:40]]
    assert len(set(own)) == 40
    assert len({one.number for one in looks[40:]}) == 1
    assert sorted({*own, looks[-1].number}) == list(range(1, 42))
    assert [look(tmp_path, key).number for key in keys[:40]] == own


def test_looks_of_other_folders_are_learned_once(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    records = [look(there, key, planned=2).record for key in ("a", "b")]
    for _ in range(2):
        learn_looks(here, "table", [*records, "", "{damaged", json.dumps({"planned": 2})])
    assert [look(here, key, planned=2).number for key in ("b", "c", "a")] == [2, 3, 1]
    learn_looks(here, "table", [look(here, "c", planned=2).record])
    assert look(here, "d", planned=2).number == 4
