"""A team's own training job, a function or a command: its input, and one-line refusals of its output."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from click_log import make_log
from command_line import feature_audit, tracking_in
from feature_audit.config import AuditConfig
from feature_audit.data import Store, prepare, read_scores, write_raw_splits
from feature_audit.trainer import TrainingTask
from processes import runs, wait_until

COLUMNS = ("impression", "user_id", "ts", "price_gap", "taste", "device", "noise_cat_0", "clicked")
WORDS = (
    "--data", "log.parquet", "--target", "clicked", "--row_id", "impression", "--group", "user_id", "--time", "ts",
    "--model", "mlp", "--threads", "1",
)  # fmt: skip
HEAD = """
import numpy as np
import polars as pl
from feature_audit.trainer import Predictions


def rows(path):
    return pl.read_parquet(path).height


def draw(task):
    return np.random.default_rng(task.seed).random(rows(task.validation)), np.zeros(rows(task.test))


def numbers(*paths):
    return pl.concat([pl.read_parquet(path)["row"] for path in paths])


def write(task, **columns):
    pl.DataFrame(columns).write_parquet(task.output / "predictions.parquet")


def train(task):
"""
#: The line after these imports.
FIRST = HEAD.count("\n") + 1


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a small log, loaded once."""
    with tracking_in(tmp_path_factory.mktemp("own_training")) as folder:
        make_log(900, users=60).select(COLUMNS).write_parquet(folder / "log.parquet")
        assert feature_audit("load", *WORDS) == 0
        yield folder


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    sys.modules.pop("job", None)


def checked(home: Path, capsys: pytest.CaptureFixture[str], body: str) -> tuple[int, str]:
    """Exit code and findings of `check-model` for a function with this body."""
    (home / "job.py").write_text(HEAD + "".join(f"    {line}\n" for line in body.splitlines()), encoding="utf-8")
    capsys.readouterr()
    code = feature_audit("check-model", *WORDS, "--trainer", "job:train")
    return code, capsys.readouterr().out


def test_the_files_hold_the_rows_of_the_store_and_no_other_feature(tmp_path: Path) -> None:
    log = make_log(700, users=50).with_columns(pl.when(pl.col("impression") % 9 > 0).then("ts").alias("ts"))
    log = log.with_columns(pl.col("device").cast(pl.Categorical), counts=1.0 + pl.col("impression") % 3)
    log.write_parquet(tmp_path / "log.parquet")
    config = AuditConfig(
        data=str(tmp_path / "log.parquet"),
        target="price_gap > 0",
        row_id="impression",
        time="ts",
        drop_rows=("no_time",),
        weight="counts",
    )
    prepared = prepare(config, tmp_path / "store")
    store, names = Store.open(prepared.directory), ["device", "taste", "impression", "price_gap"]
    files = {split: tmp_path / f"{split}.parquet" for split in ("train", "validation", "test")}
    write_raw_splits(config, prepared, names, files, label="label", row="row", weight="weight")
    assert sum(store.rows(split) for split in files) < 700
    for split, path in files.items():
        found = pl.read_parquet(path)
        assert found.columns == [*names, "row", *(["label", "weight"] if split != "test" else [])]
        assert found["impression"].to_list() == store.row_id(split).tolist()
        assert found["row"].to_list() == list(range(store.first_row(split), store.first_row(split) + store.rows(split)))
        wanted = log[found["impression"].to_list()]
        assert found["taste"].equals(wanted["taste"], null_equal=True)
        assert found["device"].to_list() == wanted["device"].cast(pl.String).to_list()
        if split != "test":  # the task contains no test labels
            assert found["label"].to_list() == (wanted["price_gap"] > 0).cast(pl.Float32).to_list()
            ratio = found["weight"] / wanted["counts"]
            assert ratio.max() == pytest.approx(ratio.min(), rel=1e-6)


def test_scores_are_put_in_the_order_of_the_rows(tmp_path: Path) -> None:
    asked = {"validation": np.arange(5, 9), "test": np.array([9, 12, 13])}
    numbers = [13, 5, 9, 8, 6, 12, 7]
    for score in ([row / 20 for row in numbers], [[row / 20, 1 - row / 20] for row in numbers]):
        pl.DataFrame({"score": score, "row": numbers}).write_parquet(tmp_path / "predictions.parquet")
        found = read_scores(tmp_path / "predictions.parquet", asked)
        for split, rows in asked.items():
            first = found[split] if found[split].ndim == 1 else found[split][:, 0]
            np.testing.assert_allclose(first, rows / 20)


def test_check_model_reports_the_task_of_a_valid_training_function(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown = checked(home, capsys, "return Predictions(*draw(task))")
    assert code == 0
    assert "ok   task: features price_gap, taste; rows:" in shown
    assert "two seeds give different scores" in shown
    assert "a pass registers only the list of kept columns" in shown


def test_a_training_function_that_ignores_its_seed_is_reported(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = checked(
        home, capsys, "return Predictions(*(np.full(rows(p), 0.3) for p in (task.validation, task.test)))"
    )
    assert code == 0
    assert "two seeds give the same scores: either the training is deterministic, or it ignores task.seed" in shown


def test_a_function_may_write_its_scores_in_any_order(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = """
row = numbers(task.test, task.validation).shuffle(seed=task.seed)
write(task, row=row, score=row / 2000)"""
    code, shown = checked(home, capsys, body)
    assert code == 0
    assert "two seeds give the same scores" in shown, "they are put in order by row"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("a, b = draw(task); return Predictions(a, b[:-3])", r"test: scores have shape \(\d+,\), not \(\d+,\)"),
        ("a, b = draw(task); return Predictions(b, a)", r"validation: scores have shape"),
        (
            "a, b = draw(task); a[5] = np.nan; return Predictions(a, b)",
            r"1 of \d+ scores are missing or not finite \(first: index 5\)",
        ),
        ("a, b = draw(task); return Predictions(a, b - 7)", r"test: scores range from -7 to -7; give probabilities"),
        ("a, b = draw(task); return Predictions(np.stack([1 - a, a], axis=1), b)", r"give column \[:, 1\]"),
        ("a, b = draw(task); return Predictions(a > 0.5, b)", r"validation: scores are bool; give probabilities"),
        ("a, b = draw(task); return Predictions(a.round().astype(int), b)", r"validation: scores are int64; give"),
        ("a, b = draw(task); return Predictions([str(x) for x in a], b)", r"validation: scores are <U"),
        ("return draw(task)", r"returned tuple; return feature_audit.trainer.Predictions"),
        ("return None", r"predictions.parquet is missing; write columns row and score"),
        ("(task.output / 'predictions.parquet').write_bytes(b'PAR1')", r"predictions.parquet cannot be read"),
        ("write(task, id=[1])", r"has columns id; give row and score"),
        ("write(task, row=[1], score=[0.5])", r"\d+ rows are missing"),
        ("write(task, row=['1'], score=[0.5])", r"row is String"),
        (
            "row = numbers(task.validation, task.test, task.test); write(task, row=row, score=row / 2e3)",
            r"\d+ rows occur twice; score every row of the validation and test files once",
        ),
        (
            "row = numbers(task.train, task.validation, task.test); write(task, row=row, score=row / 2e3)",
            r"\d+ rows are not part of the task \(first: \d+\)",
        ),
        (
            "row = numbers(task.validation, task.test); write(task, row=row, score=['high'] * len(row))",
            r"score is String; give numbers",
        ),
        (
            "row = numbers(task.validation, task.test); write(task, row=row, score=[None, *row[1:] / 2e3])",
            r"validation: 1 of \d+ scores are missing",
        ),
        ("raise KeyError('user_age')", rf"KeyError: 'user_age' \(job.py:{FIRST}, in train\)"),
        (
            "import sys; sys.exit(3)",
            rf"SystemExit: 3 \(job.py:{FIRST}, in train\): code that an audit calls must not end the process",
        ),
        ("(task.output / 'model').mkdir(); return Predictions(*draw(task))", r"is not an MLflow model; write it with"),
    ],
)  # fmt: skip
def test_a_function_that_breaks_the_contract(
    home: Path, capsys: pytest.CaptureFixture[str], body: str, says: str
) -> None:
    code, shown = checked(home, capsys, body)
    assert code == 1
    line = shown.splitlines()[-1]
    assert re.search(f"^FAIL scores: .*{says}", line), line


def test_prediction_shapes_are_checked_for_multiclass_and_regression(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(body: str, *words: str) -> str:
        (home / "job.py").write_text(HEAD + f"    {body}\n", encoding="utf-8")
        sys.modules.pop("job", None)
        capsys.readouterr()
        feature_audit("check-model", "--data", "log.parquet", "--trainer", "job:train", "--threads", "1", *words)
        return capsys.readouterr().out

    four = ("--target", "device", "--task", "multiclass")
    assert "ok   scores" in check("return Predictions(*(np.full((len(a), 4), 0.25) for a in draw(task)))", *four)
    assert "scores have shape" in check("return Predictions(*draw(task))", *four)
    assert "sum to 0.8" in check("return Predictions(*(np.full((len(a), 4), 0.2) for a in draw(task)))", *four)
    number = ("--target", "price_gap", "--exclude", "clicked")
    assert "ok   scores" in check("return Predictions(*(a.round().astype(int) - 7 for a in draw(task)))", *number)


def test_a_function_leaves_the_process_as_it_was(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = """
import os, torch
os.chdir("/"); torch.set_grad_enabled(False); torch.set_default_dtype(torch.float64); torch.set_num_threads(7)
torch.use_deterministic_algorithms(True)
return Predictions(*draw(task))"""
    before = Path.cwd()
    assert checked(home, capsys, body)[0] == 0
    assert Path.cwd() == before
    assert torch.is_grad_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert (torch.get_default_dtype(), torch.get_num_threads()) == (torch.float32, 1)


PROGRAM = """
import json, sys
import polars as pl
task = json.load(open(sys.argv[1]))
row = pl.concat([pl.read_parquet(task[name])[task["row"]] for name in ("validation", "test")])
table = pl.DataFrame({"row": row, "score": (row * 7919 % 100 + task["seed"]) / 200})
"""


@pytest.mark.parametrize(
    ("ending", "says"),
    [
        (
            "print('no card', file=sys.stderr); sys.exit(7)",
            r"exit code 7; it said: no card \(full output: .*stderr.txt\)",
        ),
        ("raise ValueError('late')", r"exit code 1; it said: .*ValueError: late"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", r"was ended by signal 9"),
        ("", r"predictions.parquet is missing"),
    ],
)
def test_a_command_that_fails(home: Path, capsys: pytest.CaptureFixture[str], ending: str, says: str) -> None:
    """Files that it wrote before are not used."""
    wrote = "table.write_parquet(task['output'] + '/predictions.parquet')\n" if ending else ""
    (home / "job_program.py").write_text(PROGRAM + wrote + ending + "\n", encoding="utf-8")
    capsys.readouterr()
    command = f"{sys.executable} job_program.py {{task}}"
    assert feature_audit("check-model", *WORDS, "--command", command) == 1
    assert re.search(f"^FAIL scores: command=.*{says}", capsys.readouterr().out.splitlines()[-1])


def test_a_command_that_takes_too_long_ends_with_all_that_it_started(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "slow.sh").write_text("echo waiting >&2; sleep 300 & echo $! > child; wait", encoding="utf-8")
    child, wait = home / "child", subprocess.Popen.wait

    def wait_for_what_it_says(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        """The limit begins when the program has said something, however busy the machine is."""
        wait_until(lambda: child.exists() and child.read_text())
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait_for_what_it_says)
    words = ("--command", "sh slow.sh {task}", "--command_timeout", "1.5")
    assert feature_audit("check-model", *WORDS, *words) == 1
    line = capsys.readouterr().out.splitlines()[-1]
    assert "was stopped after command_timeout=1.5 seconds; it said: waiting; raise it, or give 0 for no limit" in line
    wait_until(lambda: not runs(int(child.read_text())), seconds=60)  # a killed process ends when it is scheduled next


def test_files_of_a_failed_job_are_not_used_as_a_result(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command is killed after it wrote its scores; the second time it succeeds without writing any."""
    end = "import os\nif os.path.exists('second'): sys.exit(0)\nopen('second', 'w').close()\n"
    write = "table.write_parquet(task['output'] + '/predictions.parquet')\nsys.exit(1)\n"
    (home / "job_program.py").write_text(PROGRAM + end + write, encoding="utf-8")
    words = ("baseline", *WORDS, "--profile", "quick", "--command", f"{sys.executable} job_program.py {{task}}")
    assert feature_audit(*words) == 1
    assert "exit code 1" in capsys.readouterr().err
    assert feature_audit(*words) == 1
    assert "predictions.parquet is missing" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--trainer", "job"), "trainer=job: write it as package.module:function"),
        (("--trainer", "no_such_job:train"), "trainer=no_such_job:train: cannot import no_such_job"),
        (
            ("--trainer", "json:detect_encoding", "--command", "true {task}"),
            "each one defines the full model",
        ),
        (("--trainer", "platform:machine"), "must accept a task: def train(task)"),
        (("--command", "python train.py"), "put {task} where the path of the task belongs"),
        (("--command", "no-such-program {task}"), "no such program no-such-program"),
        (("--command", "python 'train.py {task}"), "close its quotes"),
        (("--command_timeout", "-1"), "command_timeout='-1'"),
    ],
)
def test_a_job_that_cannot_be_started_is_refused_at_once(
    home: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    assert feature_audit("run", *WORDS, *words) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_a_task_is_the_same_after_it_was_saved(tmp_path: Path) -> None:
    task = TrainingTask(
        ("a", "ä b"), "binary", 2, "label", "row", None, "user", "weight",
        *(tmp_path / name for name in ("x", "y", "z", "out")), 3, "cpu", 1,
    )  # fmt: skip
    task.save(tmp_path / "task.json")
    assert TrainingTask.load(tmp_path / "task.json") == task
    assert json.loads((tmp_path / "task.json").read_text(encoding="utf-8"))["features"] == ["a", "ä b"]


def test_a_command_is_given_again_when_its_audit_is_continued(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "job_program.py").write_text(
        PROGRAM + "table.write_parquet(task['output'] + '/predictions.parquet')\n", encoding="utf-8"
    )
    command = f"{sys.executable} job_program.py {{task}}"
    assert feature_audit("baseline", *WORDS, "--profile", "quick", "--command", command) == 0
    shown = capsys.readouterr()
    assert np.isin(["--command"], shown.out.split()).all(), "the line that continues names it"
    run = re.search(r"--audit (\w+)", shown.out)
    assert run is not None
    assert feature_audit("baseline", "--audit", run[1]) == 2
    assert "its configuration runs your code: command=" in capsys.readouterr().err.splitlines()[-1]
