"""The kept features in the formats that production uses: text, SQL, and a Feast feature service."""

from __future__ import annotations

import json
import keyword
import unicodedata
from collections.abc import Iterable, Sequence

from feature_audit.results import FeatureDecision, Verdict

#: View of features with an unknown source table.
_VIEW = "features"
#: Maximum tag length that every registry accepts.
_TAG_LIMIT = 4_900


def sql_select(
    kept: Sequence[FeatureDecision], keys: Sequence[str], *, verdict: Verdict, table: str = "features"
) -> str:
    """A ``SELECT`` of the key columns and the kept features, with names quoted as in standard SQL.

    Args:
        kept: rows of the decision table.
        keys: columns that are not features but identify a row: row id, time, group.
        verdict: verdict of the audit, in a comment at the top.
        table: name of the table.
    """
    lines = [*(f"  {_quoted(key)}" for key in keys), *(f"  {_quoted(row.feature)}" for row in kept)]
    return f"-- {_mark(verdict)}\nSELECT\n" + ",\n".join(lines) + f"\nFROM {_quoted(table)};\n"


def feast_service(kept: Sequence[FeatureDecision], name: str, *, verdict: Verdict) -> str:
    """A Python module that defines a Feast ``FeatureService`` with one projection per source table.

    Feature views are named after the source tables; features without a table belong to the view ``features``. The
    verdict is in a comment at the top.
    """
    views: dict[str, list[str]] = {}
    for row in kept:
        views.setdefault(row.group or _VIEW, []).append(row.feature)
    names = _identifiers([*views, name])
    lines = [
        f"# {_mark(verdict)}",
        '"""The kept features as a Feast feature service; register it with `feast apply`."""',
        "",
        "from feast import FeatureService",
        "",
        "# The feature views of your repository, named after the source tables of the audit.",
        *(f"from feature_views import {names[view]}" for view in views),
        "",
        f"{names[name]} = FeatureService(",
        f"    name={name!r},",
        "    features=[",
        *(f"        {names[view]}[{features!r}]," for view, features in views.items()),
        "    ],",
        ")",
    ]
    return "\n".join(lines) + "\n"


def feast_refs(kept: Iterable[FeatureDecision]) -> list[str]:
    """``view:feature`` of the kept features, views as in ``feast_service``; empty if no source table is known."""
    rows = list(kept)
    return [f"{row.group or _VIEW}:{row.feature}" for row in rows] if any(row.group for row in rows) else []


def feast_tags(refs: Sequence[str]) -> dict[str, str]:
    """Feast's tags for the features of a model, cut after whole names; empty without references."""
    if not refs:
        return {}
    views = dict.fromkeys(ref.partition(":")[0] for ref in refs)
    return {"feast.feature_views": _joined(views), "feast.feature_refs": _joined(refs)}


def _joined(names: Iterable[str]) -> str:
    text = ""
    for name in names:
        longer = f"{text},{name}" if text else name
        if len(longer) > _TAG_LIMIT:
            break
        text = longer
    return text


def _mark(verdict: Verdict) -> str:
    caution = "" if verdict == "pass" else "; this feature set was tested but is not recommended"
    return f"Verdict of the audit: {verdict}{caution}."


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _identifiers(names: Sequence[str]) -> dict[str, str]:
    """A unique Python name for each name, different from the module's own names."""
    found: dict[str, str] = {}
    for name in names:
        made = _identifier(name)
        while made in ("FeatureService", *(other for key, other in found.items() if key != name)):
            made += "_"
        found[name] = made
    return found


def _identifier(name: str) -> str:
    """A Python name: other characters become underscores; a leading digit is prefixed, a keyword suffixed with one."""
    plain = unicodedata.normalize("NFKC", name)  # as Python normalises identifiers
    made = "".join(sign if f"_{sign}".isidentifier() else "_" for sign in plain)
    made = made if made.isidentifier() else f"_{made}"
    return f"{made}_" if keyword.iskeyword(made) else made


def name_lines(names: Iterable[str]) -> str:
    """One name per line; a name with a line break or another control character is written as a JSON string."""
    return "".join(f"{name if name.isprintable() else json.dumps(name)}\n" for name in names)
