"""The Great Expectations suite on the profile; the only module that imports great_expectations.

GX has no Polars engine, so it validates two small pandas tables of exact figures (``profile.py``): one row per column,
and one row for the table. Severities: ``critical`` stops the audit, ``warning`` and ``info`` appear in the report.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl

from feature_audit.config.sections import ChecksConfig
from feature_audit.data.checks.row_names import ID_SHARE
from feature_audit.data.table.splits import MIN_ROWS
from feature_audit.importing import large_imports
from feature_audit.schema import Task

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuite

#: Share of train rows in the rarest class below which a warning is given.
RARE_CLASS = 0.001
#: Difference in null share between train and a later split from which a warning is given.
NULL_GAP = 0.2


def validate(columns: pl.DataFrame, table: pl.DataFrame, checks: ChecksConfig, task: Task) -> dict[str, Any]:
    """Judge both profiles.

    Args:
        columns: ``profile.column_profile``.
        table: ``profile.table_profile``.
        checks: thresholds of the warnings.
        task: decides which label checks apply.

    Returns:
        JSON-ready: ``passed`` (no critical expectation failed), ``failures`` (one line each, with severity),
        ``statistics`` and ``results`` of both suites in GX's format.
    """
    with _quiet():
        with large_imports():
            import great_expectations as gx
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        suites = {"columns": (columns, _column_suite(checks)), "table": (table, _table_suite(task))}
        source = context.data_sources.add_pandas("profile")
        results = {}
        for name, (profile, suite) in suites.items():
            batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
            data = batch.get_batch(batch_parameters={"dataframe": profile.to_pandas()})
            # Of columns, which ones failed; the table is one row, whose figure a basic result holds, too.
            named = {"result_format": "COMPLETE", "unexpected_index_column_names": ["column"]}
            form = named if name == "columns" else {"result_format": "BASIC"}
            results[name] = data.validate(suite, result_format=form).to_json_dict()
    failures = [line for result in results.values() for line in _failures(result)]
    return {
        "passed": not any(line["severity"] == "critical" for line in failures),
        "failures": failures,
        "statistics": {name: result["statistics"] for name, result in results.items()},
        "results": results,
    }


def _column_suite(checks: ChecksConfig) -> ExpectationSuite:
    """Expectations for every usable column; the result names the columns that fail."""
    import great_expectations as gx

    def within(
        column: str, severity: str, notes: str, *, low: float | None = None, high: float | None = None, of: str = ""
    ) -> Any:
        return gx.expectations.ExpectColumnValuesToBeBetween(
            column=column, min_value=low, max_value=high, severity=severity, notes=notes,
            row_condition="usable==True" + of, condition_parser="pandas",
        )  # fmt: skip

    categories = ' and kind=="categorical"'
    return gx.ExpectationSuite(
        name="columns",
        expectations=[
            gx.expectations.ExpectColumnValuesToBeUnique(
                column="column", severity="critical", notes="column names are unique"
            ),
            within("null_share_train", "warning", "columns have values in the train split", high=checks.max_null_share),
            within("null_share_gap", "warning", "nulls are as frequent in the other splits as in train", high=NULL_GAP),
            within("distinct", "warning", "columns have at least one value", low=1),
            within(
                "distinct_share", "info", "categories repeat and do not identify rows", high=ID_SHARE, of=categories
            ),
            within("drift_auc", "warning", "test rows look like train rows", high=checks.drift_auc),
        ],
    )


def _table_suite(task: Task) -> ExpectationSuite:
    """Expectations for label, splits and time."""
    import great_expectations as gx

    def within(column: str, severity: str, notes: str, low: float | None = None, high: float | None = None) -> Any:
        return gx.expectations.ExpectColumnValuesToBeBetween(
            column=column, min_value=low, max_value=high, severity=severity, notes=notes
        )

    most = {"binary": 2, "multiclass": 1000, "regression": None}[task]
    expectations = [
        within("label_nulls", "critical", "every row has a label", high=0),
        within("label_values", "critical", "the values of the label fit the task", low=2, high=most),
        within("usable_features", "critical", "at least one feature is usable", low=1),
        within("time_disorder", "critical", "train is before validation, validation before test", high=0),
        within("rarest_class_share", "warning", "no class is extremely rare in train", low=RARE_CLASS),
        within("excluded_share", "warning", "most columns are usable", high=0.5),
        within("leaks", "warning", "no column leaks the label", high=0),
        within("suspected_leaks", "info", "no column is suspected of leaking the label", high=0),
    ]
    for split, least in MIN_ROWS.items():
        expectations.append(within(f"rows_{split}", "critical", f"the {split} split is large enough", low=least))
        expectations.append(
            within(f"label_values_{split}", "critical", f"the {split} split has more than one outcome", low=2)
        )
    return gx.ExpectationSuite(name="table", expectations=expectations)


def _failures(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for one in result["results"]:
        if one["success"]:
            continue
        config, seen = one["expectation_config"], one["result"]
        named = [
            entry["column"]
            for entry in seen.get("unexpected_index_list") or []
            if isinstance(entry, dict) and "column" in entry
        ]
        observed = seen.get("partial_unexpected_list") or [one.get("exception_info")]
        what = config["kwargs"].get("column")
        limits = {
            key: config["kwargs"][key] for key in ("min_value", "max_value") if config["kwargs"].get(key) is not None
        }
        notes = config.get("notes") or what
        yield {
            "severity": config.get("severity", "critical"),
            "expected": notes if isinstance(notes, str) else "; ".join(notes),
            "measure": what,
            "limits": limits,
            "observed": observed[:5],
            "columns": named,
        }


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress GX's import warnings and log lines."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
