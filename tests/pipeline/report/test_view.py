"""The view of a report: wording, grouping and limits of lists."""

import dataclasses
import math
import shlex

import pytest
from feature_audit.findings import Finding
from feature_audit.report import (
    actions,
    nested,
    render_html,
    render_markdown,
    retirement,
    run_description,
    version_description,
    view,
)
from feature_audit.results import AuditReport, FeatureDecision
from report_factory import make_report


def test_parity_words_the_verdict_once():
    report = make_report("pass", sentence="Pass: the change is -0.0011 on 2025-03-04: ruled out")
    assert view.sentence(report) == "The change is −0.0011 on 2025-03-04: ruled out."
    error = make_report("error", sentence="target=booked: no such column")
    assert view.sentence(error) == "target=booked: no such column", "keys and values stay as they are"


@pytest.mark.parametrize(
    ("metric", "name"), [("auc", "AUC"), ("ndcg@10", "NDCG@10"), ("logloss", "log loss"), ("own_one", "own one")]
)
def test_metric_names(metric, name):
    assert view.metric_name(metric) == name


def test_a_guard_that_is_not_shown_to_hold_explains_the_verdict_and_says_what_it_asks():
    passed = make_report("pass")
    rows = {row.metric: row for row in passed.deltas if row.role == "guard"}
    strict = dataclasses.replace(rows["logloss"], mode="not_worse", verdict="inconclusive")
    lenient = dataclasses.replace(rows["calibration"], mode="not_shown_worse", verdict="inconclusive")
    report = dataclasses.replace(passed, verdict="inconclusive", deltas=[passed.deltas[0], strict, lenient])
    assert view.overruling(report) == [strict]
    assert "It lies entirely above −0.002" in view.evidence(report)
    for page in (render_html(report), render_markdown(report)):
        assert "guard, must pass" in page
    assert "because of the guard log loss, all test rows" in render_html(report)
    steps = actions.next_steps(report)
    assert "interval still contains the margin" not in " ".join(step.text for step in steps)


def shifted(low: float, delta: float, high: float, **changes) -> AuditReport:
    """A report whose decision row has another difference."""
    report = make_report("pass", **changes)
    first = dataclasses.replace(report.deltas[0], delta=delta, ci_low=low, ci_high=high)
    return dataclasses.replace(report, deltas=[first, *report.deltas[1:]])


def test_the_first_screen_says_what_the_full_model_loses_to_its_own_features():
    report = shifted(0.0312, 0.0401, 0.0488)
    sentence = f"Some features hurt the full model: without {report.n_features - report.k} of its "
    html, markdown = render_html(report), render_markdown(report)
    assert html.index(sentence) < html.index("What to do next")
    assert markdown.index(sentence) < markdown.index("What to do next")
    assert sentence in run_description(report)
    assert "AUC improves by 0.0401" in markdown
    assert "interval +0.0312 to +0.0488" in markdown


@pytest.mark.parametrize("interval", [(-0.0001, 0.01, 0.02), (-0.03, -0.02, -0.01), (0.0, 0.0, 0.0), (math.nan,) * 3])
def test_only_a_proven_loss_is_mentioned(interval):
    assert "hurt the full model" not in render_markdown(shifted(*interval))


def test_a_model_that_keeps_every_feature_loses_none_to_them():
    report = shifted(0.01, 0.02, 0.03)
    assert "hurt the full model" not in render_markdown(dataclasses.replace(report, k=report.n_features))


def sliced(outcome: str, low: float, high: float, **changes) -> AuditReport:
    """A report whose slice ``items: tail`` has another interval."""
    report = make_report(outcome)
    deltas = [
        dataclasses.replace(row, delta=(low + high) / 2, ci_low=low, ci_high=high, **changes)
        if row.slice == "items: tail"
        else row
        for row in report.deltas
    ]
    return dataclasses.replace(report, deltas=deltas)


def test_the_first_screen_names_the_slice_that_loses_most():
    report = sliced("pass", -0.0205, -0.0001)
    html, markdown = render_html(report), render_markdown(report)
    sentence = (
        "worse in 1 of 6 slices, most in items: tail, −0.0103 (−0.0205 to −0.0001). By chance alone, about 0.2 would"
    )
    for page in (html, markdown):
        assert page.index(sentence) < page.index("What to do next")
    assert sentence in run_description(report)
    assert "slice_margin gives them a margin" in html


@pytest.mark.parametrize(
    "report",
    [
        make_report("pass"),
        sliced("pass", -0.0205, 0.0),
        sliced("pass", 0.0001, 0.0205),
        sliced("pass", math.nan, math.nan),
        sliced("pass", -0.0205, -0.0001, margin=0.03, verdict="pass", role="guard"),
        sliced("inconclusive", -0.0205, -0.0001),
    ],
)
def test_only_a_slice_that_is_worse_and_has_no_margin_is_named(report: AuditReport):
    assert "The pruned model is worse in" not in render_markdown(report)


def test_the_first_screen_says_how_the_full_model_stands_against_production_and_what_the_margin_was():
    sentence = "Compared with production (old_score) on 900 test rows, the full model is better: AUC 0.81 vs. 0.79."
    report = make_report("pass", production=sentence, margin_share="1%")
    html, markdown = render_html(report), render_markdown(report)
    assert html.index("old_score") < html.index("What to do next")
    assert markdown.index("old\\_score") < markdown.index("What to do next")
    assert "old\\_score" in run_description(report)
    assert "1% of the full model’s gain over a no-skill model" in html
    assert "0.002 (1% of the full model's gain over a no-skill model)" in markdown
    assert "old_score" not in render_html(make_report("pass"))


def test_one_entry_per_column_is_counted_and_rows_of_figures_stay_rows():
    mapping = {
        "null_share": {f"column_{i}": {"train": 0.5} for i in range(400)},
        "components": [{"metric": "auc", "df": 44.55725}, {"metric": "logloss", "df": 3.0}],
        "classes": list(range(50)),
        "empty": {},
        "nested": {"a": {"b": 12_345}},
    }
    shown = dict(nested.flat(mapping))
    assert shown["null_share"] == "400 entries, in report.json"
    assert shown["components.1"] == "metric auc, df 44.5573"
    assert shown["components.2"] == "metric logloss, df 3"
    assert shown["classes"].endswith("19 and 30 more")
    assert shown["empty"] == "none"
    assert shown["nested.a.b"] == "12,345"


def test_the_data_is_summarised_in_words():
    summary = {
        "rows": 1_000,
        "columns": 12,
        "kinds": {"numeric": 9},
        "positives_share": 0.25,
        "target_per_split": {"train": {"0": 0.5}},
        "time": {"first": "2026-01-01"},
        "group": "user_id",
        "groups": 2_277,
    }
    shown = dict(nested.summary(dataclasses.replace(make_report(), data_summary=summary)))
    assert shown == {
        "rows": "1000",
        "candidate columns": "12",
        "kinds, numeric": "9",
        "share of positive rows": "0.250000",
        "label, train, 0": "0.500000",
        "time, first": "2026-01-01",
        "resampling units (values of user_id)": "2277",
    }


def test_duplicates_of_the_findings_count_as_carried_once():
    decisions = [FeatureDecision("copy", 2, 0.0, 0.0, "drop", "duplicate", carried_by="original")]
    findings = [Finding("copy", "duplicate", "equal", excluded=True, carried_by="original")]
    report = dataclasses.replace(make_report(), decisions=decisions, findings=findings)
    assert view.proxies(report) == [view.Proxy("original", ("copy",))]


def test_a_kept_feature_is_never_listed_as_one_that_can_go():
    decisions = [
        FeatureDecision("original", 1, 0.0, 1.0, "keep", ""),
        FeatureDecision("twin", 2, 0.0, 1.0, "keep", "", carried_by="original"),
        FeatureDecision("waits", 3, 0.0, 0.5, "review", "", carried_by="original"),
        FeatureDecision("goes", 4, 0.0, 0.0, "drop", "", carried_by="original"),
    ]
    findings = [Finding(name, "duplicate", "nearly equal", carried_by="original") for name in ("twin", "waits", "goes")]
    report = dataclasses.replace(make_report(), decisions=decisions, findings=findings)
    assert view.proxies(report) == [view.Proxy("original", ("goes",))]


def _counted():
    """394 features and 17 excluded columns, as in the demo."""
    rows = [("keep", 39), ("drop", 352), ("review", 3), ("drop", 17)]
    decisions = []
    for decision, number in rows:
        for _ in range(number):
            rank = len(decisions) + 1
            decisions.append(FeatureDecision(f"f{rank}", rank, 0.0, 0.0, decision, ""))
    return make_report(decisions=decisions, n_features=394, n_columns=411, k=39)


def test_one_count_everywhere():
    report = _counted()
    assert view.decision_counts(report) == {"keep": 39, "review": 3, "drop": 352, "no feature": 17}
    assert view.headline(report) == "Production can drop 352 of 394 features now, 3 more after review."
    note, page, whole = run_description(report), render_html(report), render_markdown(report)
    for text in (note, whole):
        assert "keep 39, review 3, drop 352, no feature 17" in text
    for text in (note, page, whole):
        assert view.headline(report) in text
        for wrong in ("drop 355", "drop 369"):
            assert wrong not in text
    assert ">no feature <" in page
    assert sum(wave.features for wave in actions.removal_waves(report)) == 352 + 17


def test_a_review_says_how_it_is_settled():
    report = _counted()
    step = actions.next_steps(report)[0]
    assert step.title == "Decide on the features under review"
    for word in ("f392, f393, f394", "never_drop", "Keep computing them until this is decided"):
        assert word in step.text
    run_id = report.provenance["run_id"]
    named = ",".join([*report.provenance["config"]["never_drop"], "f392", "f393", "f394"])
    assert shlex.split(step.command) == ["feature-audit", "parity", "--audit", run_id, "--never_drop", named]
    settled = [dataclasses.replace(row, decision="drop") for row in report.decisions if row.decision == "review"]
    without = dataclasses.replace(report, decisions=[*report.decisions[:391], *settled, *report.decisions[394:]])
    promote = actions.next_steps(without)[0]
    assert promote.title == "Promote"
    assert "trained on the train split only" in promote.text
    assert "recommendation/kept_features.txt" in promote.text
    assert view.headline(without) == "Production can drop 355 of 394 features."


def test_a_lopsided_interval_is_explained_under_its_bar():
    report = make_report()
    wide = dataclasses.replace(report.deltas[0], delta=0.0, ci_low=-0.001, ci_high=0.0016)
    even = dataclasses.replace(wide, ci_high=0.001)
    explained, plain = (view.evidence(dataclasses.replace(report, deltas=[row])) for row in (wide, even))
    assert "one-sided" in explained
    assert "one-sided" not in plain


def test_the_versions_page_promotes_itself_and_warns_of_the_button():
    note = version_description(make_report(), "#/experiments/1/runs/2/artifacts/report/index.html")
    first = note.splitlines()[0]
    assert "feature-audit promote --model_name feature-audit --version 7" in first
    assert "**Promote model**" in first
    assert "trained on the train split only" in first
    assert "](#/experiments/1/runs/2/artifacts/report/index.html)" in note
    assert "**Pass:**" in note


def test_waves_cover_every_dropped_feature_once():
    report = make_report(n_features=420)
    waves = actions.removal_waves(report)
    assert sum(wave.features for wave in waves) == view.decision_counts(report)["drop"]
    assert sum(wave.saved for wave in waves) == pytest.approx(retirement.saved_cost(report))
    assert [wave.title for wave in waves[:2]] == ["Table legacy_scores", "Table partner_feed"]


def _tables(verdict="pass", **table_costs):
    rows = [("a", "keep", "stays", 5.0), ("b", "drop", "stays", 3.0), ("c", "drop", "goes", 10.0)]
    rows += [("d", "drop", "goes", 0.0), ("e", "drop", None, 2.0), ("f", "review", "waits", 8.0)]
    decisions = [
        FeatureDecision(name, i, 0.0, 0.0, decision, "", group=group, cost=cost)
        for i, (name, decision, group, cost) in enumerate(rows, 1)
    ]
    return dataclasses.replace(make_report(verdict), decisions=decisions, table_costs=table_costs)


def test_a_retiring_table_saves_its_own_cost_too_and_a_staying_one_does_not():
    report = _tables(goes=1_000.0, stays=500.0, waits=70.0)
    saved = {table.name: (table.retires, table.saved) for table in retirement.source_tables(report)}
    assert saved == {"goes": (True, 1_010.0), "stays": (False, 3.0), "waits": (False, 0.0)}
    assert retirement.saved_cost(report) == 1_015.0
    assert sum(wave.saved for wave in actions.removal_waves(report)) == 1_015.0
    assert retirement.savings(report) == (
        "1 of 3 source tables can be retired (goes), which saves 1,010 per year; single features save another 5."
    )
    assert retirement.savings(dataclasses.replace(report, verdict="fail")).startswith(
        "1 of 3 source tables could be retired (goes), which would save 1,010 per year"
    )


def test_savings_without_costs_or_tables_claim_nothing():
    free = [dataclasses.replace(row, cost=0.0) for row in _tables().decisions]
    assert (
        retirement.savings(dataclasses.replace(_tables(), decisions=free))
        == "1 of 3 source tables can be retired (goes)."
    )
    bare = [dataclasses.replace(row, group=None) for row in free]
    assert retirement.savings(dataclasses.replace(_tables(), decisions=bare)) == ""


def test_many_retiring_tables_are_one_wave_after_the_largest():
    decisions = [
        FeatureDecision(f"f{i}", i, 0.0, 0.0, "drop", "noise", group=f"table_{i}", cost=i) for i in range(1, 21)
    ]
    waves = actions.removal_waves(dataclasses.replace(make_report(), decisions=decisions))
    assert [wave.title for wave in waves] == [*(f"Table table_{i}" for i in range(20, 14, -1)), "14 more tables"]
    assert sum(wave.features for wave in waves) == 20


def test_many_slices_are_continued_below():
    report = make_report()
    extra = [dataclasses.replace(report.deltas[1], slice=f"city = {i}") for i in range(30)]
    group = view.by_metric(dataclasses.replace(report, deltas=[*report.deltas, *extra]))[0]
    assert group.first + group.more == len(group.rows)
    assert group.rows[0].role == "decision"
    assert all(row.role == "information" for row in group.rows[group.first :])


def test_names_of_the_data_are_shown_as_they_are():
    """Columns and classes keep underscores and dots; only keys of the report become words."""
    summary = {
        "null_share": {"item_id": {"train": 0.5}, "user.age": {"train": 0.25}},
        "target_per_split": {"train": {"not_clicked": 0.75}},
    }
    shown = dict(nested.summary(dataclasses.replace(make_report(), data_summary=summary)))
    assert shown == {
        "share of missing cells, item_id, train": "0.500000",
        "share of missing cells, user.age, train": "0.250000",
        "label, train, not_clicked": "0.750000",
    }


@pytest.mark.parametrize(
    ("budget", "title"),
    [(120, "Allow more features"), (419, "Allow more features")]
    + [(budget, "Keep all features at this margin") for budget in ("auto", 420, 500, None)],
)
def test_a_larger_budget_is_advised_only_where_it_was_the_limit(budget, title):
    report = make_report("fail")
    report.provenance["config"]["k"] = budget
    titles = [step.title for step in actions.next_steps(report)]
    assert [name for name in titles if "features" in name] == [title]


def test_features_dropped_by_rule_are_no_reason_for_a_larger_budget():
    report = make_report("fail", n_features=10, k=9)
    ruled = [FeatureDecision("gone", 10, 0.0, 0.0, "drop", "dropped by rule: on the always_drop list")]
    report = dataclasses.replace(report, decisions=ruled)
    report.provenance["config"]["k"] = 9
    assert "Allow more features" not in [step.title for step in actions.next_steps(report)]
