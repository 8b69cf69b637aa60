"""Configuration: precedence, and one line per mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from feature_audit.config import PROFILES, AuditConfig
from feature_audit.config.files import given_values, load_config
from feature_audit.errors import UsageError
from feature_audit.question import Guard


def test_command_line_wins_over_file_and_file_over_default(tmp_path: Path) -> None:
    first = tmp_path / "a.yaml"
    first.write_text("target: y\nmargin: 0.01\ntraining:\n  max_epochs: 3\n")
    second = tmp_path / "b.yaml"
    second.write_text("margin: 0.02\ntraining:\n  patience: 5\n")
    config = load_config(f"{first},{second}", {"margin": "0.03", "k": "", "seed": None})
    assert config.margin == 0.03
    assert (config.training.max_epochs, config.training.patience) == (3, 5)
    assert config.k == "auto"
    assert load_config(f"{first},{second}", {}).margin == 0.02


def test_profile_lies_below_what_the_user_says(tmp_path: Path) -> None:
    assert load_config(None, {}).trials == 3
    assert load_config(None, {"profile": "thorough"}).trials == 12
    assert load_config(None, {"profile": "thorough", "trials": "2"}).trials == 2


@pytest.mark.parametrize(("profile", "trials", "seeds"), [("quick", 1, 3), ("default", 3, "auto"), ("thorough", 12, 5)])
def test_auto_is_the_number_of_the_profile_and_nothing_else(profile: str, trials: int, seeds: object) -> None:
    auto = load_config(None, {"profile": profile, "trials": "auto", "seeds": "auto", "baseline_seeds": "auto"})
    assert auto == load_config(None, {"profile": profile, "trials": str(trials), "seeds": str(seeds)})
    assert auto == load_config(None, {"profile": profile})


def test_the_default_profile_is_the_defaults() -> None:
    assert AuditConfig().model_dump() == AuditConfig.model_validate(PROFILES["default"]).model_dump()


@pytest.mark.parametrize("profile", ["quick", "default", "thorough"])
def test_what_was_given_reads_as_the_same_configuration(tmp_path: Path, profile: str) -> None:
    path = tmp_path / "audit.yaml"
    path.write_text(
        "k: 50\nkinds: {'*_id': categorical}\ntraining: {max_epochs: 3}\nmodel_params: {depth: 2}\n"
        "selection: {epochs: 2, anneal_share: [0.7, 0.8]}\n"
        "margin: 1%\nguards: {logloss: {margin: 2%, mode: not_worse}}\nslices: [a, {b: [no, 1]}, {c: {top: 3}}]\n",
        encoding="utf-8",
    )
    config = load_config(str(path), {"profile": profile, "exclude": "a,b", "seeds": "auto"})
    given = yaml.safe_load(yaml.safe_dump(given_values(config)))
    assert load_config(None, {}, base=given) == config
    assert {"k", "kinds", "training", "selection", "model_params", "exclude"} <= set(given)
    assert given["training"] == {"max_epochs": 3}


def test_another_profile_brings_its_own_values_along() -> None:
    """On top of an earlier audit's configuration, whose profile must not override values of the new one."""
    first = load_config(None, {"k": 50, "seeds": 4})
    again = load_config(None, {"profile": "thorough"}, base=given_values(first))
    assert again == load_config(None, {"k": 50, "seeds": 4, "profile": "thorough"})
    assert load_config(None, {"profile": "default"}, base=given_values(again)) == first


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_a_deployed_model_is_one_in_every_profile(profile: str) -> None:
    """The user did not request the second full model of a profile."""
    assert load_config(None, {"profile": profile, "against": "deployed"}).against == "deployed"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"k": "abc"}, ["k=", "abc", "auto"]),
        ({"k": "0"}, ["k=", "0", "at least 1"]),
        ({"k": "1.5"}, ["k=", "1.5"]),
        ({"k": "-3"}, ["k=", "-3"]),
        ({"trials": "0"}, ["trials=", "0", "at least 1"]),
        ({"seeds": "1"}, ["seeds=", "1", "at least 2"]),
        ({"baseline_seeds": "0"}, ["baseline_seeds=", "0", "at least 1", "auto"]),
        ({"baseline_seeds": "3", "against": "deployed"}, ["baseline_seeds=3", "against=deployed", "give 1"]),
        ({"against": "production"}, ["against='production'", "retrained", "deployed"]),
        ({"trials": "few"}, ["trials=", "few", "whole number", "auto"]),
        ({"margin": "-0.1"}, ["margin=", "-0.1", "a finite number of 0 or more"]),
        ({"k": "5", "k_min": "9"}, ["k_min=9", "k=5"]),
        ({"confidence": "95"}, ["confidence=", "95", "give a share between 0.5 and 1, such as 0.95"]),
        ({"confidence": "0.4"}, ["confidence=", "0.4", "give a share between 0.5 and 1"]),
        ({"metrik": "auc"}, ["metrik", "unknown key", "did you mean metric?"]),
        ({"task": "binary", "metric": "rmse"}, ["metric=rmse", "task=binary", "auc"]),
        ({"metric": "auc@5"}, ["metric=auc@5", "only ndcg takes a cut-off", "give metric=auc"]),
        ({"metric": "ndcg@0"}, ["metric=ndcg@0", "at least 1", "ndcg@5"]),
        ({"metric": "ndcg@x"}, ["metric=ndcg@x", "at least 1", "ndcg@5"]),
        ({"metric": "ndcg@", "task": "binary"}, ["metric=ndcg@:", "at least 1", "ndcg@5"]),
        ({"metric": "ndcg@5", "task": "regression"}, ["metric=ndcg@5", "task=regression", "r2"]),
        ({"gate": "perhaps"}, ["gate="]),
        ({"margin": "0,2%"}, ["margin='0,2%'", "give margin=0.2%"]),
        ({"margin": "-1%"}, ["margin=-1%", "0% to below 100%"]),
        ({"margin": "100 %"}, ["margin=100 %", "0% to below 100%"]),
        ({"margin": "nan"}, ["margin='nan'", "such as 0.002"]),
        ({"guards": "0.02"}, ["guards='0.02'", "not a mapping"]),
        ({"kinds": "{age:numeric}"}, ["kinds='{age:numeric}'", "YAML needs a blank after the colon (age: numeric)"]),
        ({"guards": "{auk: 0.02}"}, ["guards=auk: unknown", "did you mean auc?"]),
        ({"guards": "{calibration: -0.02}"}, ["guards.calibration=-0.02", "a finite number of 0 or more"]),
        ({"guards": "{calibration: small}"}, ["guards.calibration='small'", "such as 0.002"]),
        (
            {"guards": "{calibration: 1%}"},
            ["guards.calibration=1%", "a no-skill model can be perfectly calibrated", "such as 0.02"],
        ),
        ({"guards": "{auc: {mode: not_worse}}"}, ["guards.auc: the margin is missing"]),
        ({"guards": "{auc: {margin: 1, mode: strict}}"}, ["guards.auc.mode='strict'", "not_shown_worse or not_worse"]),
        ({"guards": "{auc: {margin: 1, modus: x}}"}, ["guards.auc.modus: unknown key"]),
        ({"guards": "{AUC: 0.1, auc: 0.2}"}, ["guards=auc", "named twice"]),
        ({"guards": "{auc: 0.1}", "metric": "auc"}, ["guards=auc", "is the decision metric", "`margin`"]),
        ({"guards": "{ndcg: 0.1}", "metric": "ndcg@10"}, ["guards=ndcg", "is the decision metric"]),
        ({"guards": "{auc: 0.1}", "task": "binary"}, ["guards=auc", "is the decision metric"]),
        ({"guards": "{rmse: 0.1}", "metric": "auc"}, ["guards=rmse", "does not fit metric=auc", "calibration"]),
        ({"guards": "{auc: 0.1}", "task": "regression"}, ["guards=auc", "does not fit task=regression", "rmse"]),
        ({"guards": "{rmse: 0.1, auc: 0.1}"}, ["guards=auc", "does not fit guards=rmse"]),
        ({"slice_margin": "-1"}, ["slice_margin=-1", "a finite number of 0 or more"]),
        ({"slice_mode": "not_worse"}, ["slice_mode=not_worse", "needs slice_margin"]),
        ({"slice_mode": "strict"}, ["slice_mode='strict'", "choose not_shown_worse or not_worse"]),
        ({"slices": "[city, {city: [Rome]}]"}, ["slices=city", "named twice"]),
        ({"slices": "[3]"}, ["slices=3", "column: {top: 20}"]),
        ({"slices": "{city: []}"}, ["slices.city=[]", "a list of values"]),
        ({"slices": "{city: {top: 0}}"}, ["slices.city={'top': 0}", "{top: n}"]),
        ({"slices": "{city: {bottom: 3}}"}, ["slices.city={'bottom': 3}", "{top: n}"]),
        ({"margin": "0,002"}, ["margin='0,002'", "give margin=0.002"]),
        ({"margin": "small"}, ["margin='small'", "such as 0.002"]),
        ({"confidence": "95 %"}, ["confidence='95 %'", "give confidence=0.95"]),
        (
            {"metric": "rsme"},
            ["did you mean rmse?", "auc, logloss", "(task=binary)", "r2, rmse, mae (task=regression)"],
        ),
        ({"kinds": "numeric"}, ["kinds='numeric'", "not a mapping", "--kinds"]),
        ({"kinds": "{*_id: categorical}"}, ["kinds=", "not valid YAML", "quote names that contain special characters"]),
        ({"training": "{max_epoch: 3}"}, ["training.max_epoch: unknown key; did you mean max_epochs?"]),
        ({"profile": "fast"}, ["profile='fast': choose quick, default or thorough"]),
    ],
)
def test_a_mistake_is_one_line_with_key_value_and_remedy(overrides: dict[str, str], words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(None, overrides)
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line


@pytest.mark.parametrize("task", [None, "binary"])
def test_ndcg_takes_a_cut_off(task: str | None) -> None:
    assert load_config(None, {"metric": "ndcg@5", "task": task}).metric == "ndcg@5"


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        ("{a: 1, b: -2}", r"cost\.b=-2: give a number of 0 or more"),
        ("{a: much}", r"cost\.a='much': give a number of 0 or more"),
        ("{a: .nan}", r"cost\.a=nan: give a number of 0 or more"),
        ("{a: true}", r"cost\.a=True: give a number"),
        ("5", r"cost=5: give `name: cost` lines or the path of a CSV file"),
    ],
)
def test_a_cost_is_a_number_of_zero_or_more(tmp_path: Path, cost: str, words: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"cost: {cost}\n")
    with pytest.raises(UsageError, match=words) as caught:
        load_config(str(file), {})
    assert ";" not in str(caught.value), "one message, not one per type it might have been"


@pytest.mark.parametrize("key", ["seeds", "k", "trials", "baseline_seeds"])
@pytest.mark.parametrize(("value", "shown"), [("[1, 2, 3]", "[1, 2, 3]"), ("{a: 1}", "{'a': 1}"), ("", "None")])
def test_a_count_is_no_list_or_mapping(tmp_path: Path, key: str, value: str, shown: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"{key}: {value}\n")
    with pytest.raises(UsageError, match=r"give a whole number of at least [12], or auto$") as caught:
        load_config(str(file), {})
    assert str(caught.value).startswith(f"{key}={shown}: ")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("anneal_share: [0.5, 2.0]", "selection.anneal_share=[0.5, 2.0]: give a lower and an upper end of at most 1, "),
        (
            "temperature_start: [1.0, 2.0]\n  temperature_end: [0.5, 1.5]",
            "selection.temperature_end=[0.5, 1.5]: reaches above selection.temperature_start=[1.0, 2.0], but the "
            "temperature must fall; give at most 1.0",
        ),
        ("temperature_end: [9, 9]", "selection.temperature_end=[9.0, 9.0]: reaches above"),
        (
            "temperature_start: [1.0, .inf]",
            "selection.temperature_start.1=inf: give a finite number",
        ),
    ],
)
def test_an_annealing_that_no_trial_could_run_is_refused(tmp_path: Path, lines: str, says: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"selection:\n  {lines}\n")
    with pytest.raises(UsageError) as caught:
        load_config(str(file), {})
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_a_temperature_may_stay_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("selection:\n  temperature_start: [2, 2]\n  temperature_end: [1, 2]\n  anneal_share: [1, 1]\n")
    assert load_config(str(file), {}).selection.temperature_end == (1.0, 2.0)


def test_unknown_key_in_a_section_is_named_with_its_path(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("training:\n  max_epoch: 3\n")
    with pytest.raises(UsageError, match=r"training\.max_epoch: unknown key; did you mean max_epochs\?"):
        load_config(str(file), {})


_LINES = "give a YAML file of `key: value` lines"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("c.yaml", b"- a\n", f"contains a list; {_LINES}"),
        ("c.yaml", b"only words\n", f"contains text; {_LINES}"),
        ("c.yaml", b"3\n", f"contains only 3; {_LINES}"),
        ("c.yaml", b"2026-01-01\n", f"contains only 2026-01-01; {_LINES}"),
        ("c.yaml", b"a: [", "not valid YAML: "),
        ("clicks.csv", b"a,b\n1,2\n", f"contains text; {_LINES}, or data=clicks.csv if it is the log"),
        ("clicks.csv", b"%a,b\n1,2\n", "or data=clicks.csv if it is the log"),
        ("clicks.parquet", b"PAR1\xff\xfe", f"not a text file in UTF-8; {_LINES}, or data=clicks.parquet if it is the"),
    ],
)
def test_a_file_that_is_not_a_configuration_is_refused_with_the_remedy(
    name: str, content: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    with pytest.raises(UsageError) as refusal:
        load_config(name, {})
    assert str(refusal.value).startswith(f"config={name}: ")
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_file_names_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load_config(str(tmp_path / "none.yaml"), {})


@pytest.mark.parametrize(("given", "metric"), [("AUC", "auc"), ("NDCG@5", "ndcg@5"), ("LogLoss", "logloss")])
def test_a_metric_may_be_written_in_capitals(given: str, metric: str) -> None:
    assert load_config(None, {"metric": given, "task": "binary"}).metric == metric


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("kinds", "{age: numeric, '*_id': categorical}", {"age": "numeric", "*_id": "categorical"}),
        ("kinds", "age: numeric", {"age": "numeric"}),
        ("groups", "{table: [a, 'b_*']}", {"table": ("a", "b_*")}),
        ("model_params", "{depth: 2, layers: [8, 4]}", {"depth": 2, "layers": [8, 4]}),
        ("cost", "{a: 3}", {"a": 3.0}),
        ("cost", "sheets/cost.csv", "sheets/cost.csv"),
        ("slices", "[a, 'b,c']", ("a", "b,c")),
        ("slices", "[a, {b: [x, 2]}, {c: {top: 5}}]", ("a", {"b": ["x", 2]}, {"c": {"top": 5}})),
        ("slices", "{b: x}", ({"b": ["x"]},)),
        ("guards", "{LogLoss: 0.01}", {"logloss": Guard(0.01)}),
        ("guards", "{auc: {margin: 1%, mode: not_worse}}", {"auc": Guard("1%", "not_worse")}),
        ("margin", "0.5 %", "0.5%"),
        ("margin", "1e-3", 0.001),
        ("slice_margin", "2%", "2%"),
        ("exclude", "[ab]_*,c", ("[ab]_*", "c")),
        ("attach", "tower.embeddings", "tower.embeddings"),
        ("test_share", "0.3", 0.3),
    ],
)
def test_every_key_can_be_written_on_the_command_line(key: str, text: str, value: object) -> None:
    assert getattr(load_config(None, {key: text}), key) == value


def test_a_section_on_the_command_line_changes_what_it_names(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("training: {max_epochs: 3, patience: 4}\n")
    training = load_config(str(file), {"training": "{max_epochs: 7}"}).training
    assert (training.max_epochs, training.patience) == (7, 4)


def test_lists_may_be_given_with_commas() -> None:
    assert load_config(None, {"exclude": "a, b_*,"}).exclude == ("a", "b_*")
