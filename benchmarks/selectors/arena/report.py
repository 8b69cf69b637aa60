"""Reports of records in Markdown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from arena.records import Record
from arena.scoring import area, mean_ranks, nogueira

Cells = dict[tuple[str, str], list[Record]]


class Board:
    """Records of one code version and budget, arranged for tables.

    Attributes:
        tables: name -> facts of the table and its full net.
        cells: (table, method) -> records, one per seed and K.
        methods: names, in order of appearance.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.tables = {r["table"]: r for r in records if r["kind"] == "table"}
        self.cells: Cells = defaultdict(list)
        for record in records:
            if record["kind"] == "selection":
                self.cells[record["table"], record["method"]].append(record)
        self.methods = list(dict.fromkeys(method for _, method in self.cells))

    def seeds(self, table: str, method: str) -> list[int]:
        return sorted({r["seed"] for r in self.cells[table, method]})

    def values(self, table: str, method: str, k: int, key: str = "metric") -> list[Any]:
        return [r[key] for r in self.cells[table, method] if r["k"] == k]

    def top(self, table: str) -> float:
        """The best metric on a table; the full net may be far below it (XOR-like targets with much noise)."""
        seen = [r["metric"] for (name, _), records in self.cells.items() if name == table for r in records]
        return max([self.tables[table]["full"], *seen])

    def areas(self, table: str, method: str) -> list[float]:
        """Area under the K curve of each seed."""
        facts, top = self.tables[table], self.top(table)
        return [
            area(
                {r["k"]: r["metric"] for r in self.cells[table, method] if r["seed"] == seed},
                bottom=facts["floor"],
                top=top,
            )
            for seed in self.seeds(table, method)
        ]

    def stability(self, table: str, method: str) -> float | None:
        """Mean over K of the Nogueira index over seeds; 1 for a deterministic method."""
        records = self.cells[table, method]
        if all(r.get("deterministic") for r in records):
            return 1.0
        facts = self.tables[table]
        found = [nogueira(self.values(table, method, k, "kept"), facts["fields"]) for k in facts["ks"]]
        known = [value for value in found if value is not None]
        return float(np.mean(known)) if known else None

    def complete(self) -> list[str]:
        """Tables on which every method has a result."""
        return [t for t in self.tables if all(self.cells[t, m] for m in self.methods)]

    def ranks(self) -> dict[str, float]:
        """Mean ranks of the medians over seeds, on complete tables."""
        values = {
            (table, k): {m: float(np.median(self.values(table, m, k))) for m in self.methods}
            for table in self.complete()
            for k in self.tables[table]["ks"]
        }
        return mean_ranks(values)


def arena_report(records: Sequence[Record], note: str) -> str:
    """Report of the arena: a summary over tables, then the K of each table."""
    board = Board(records)
    ranks = board.ranks()
    methods = sorted(board.methods, key=lambda m: ranks.get(m, np.inf))
    parts = [note, _summary(board, methods, ranks)]
    parts += [_of_table(board, table, methods) for table in board.tables]
    return "\n\n".join(parts)


def ablation_report(records: Sequence[Record], note: str, *, reference: str) -> str:
    """Report of the ablation: area of every variant minus that of the full method, then the K of each data set."""
    board = Board(records)
    lines = [f"| variant | {' | '.join(board.complete())} | mean |", "|---" * (len(board.complete()) + 2) + "|"]
    for method in board.methods:
        gaps = []
        for table in board.complete():
            gap = np.median(board.areas(table, method)) - np.median(board.areas(table, reference))
            gaps.append(float(gap))
        cells = [f"{g:+.3f}" for g in gaps] if method != reference else ["0"] * len(gaps)
        mean = f"{np.mean(gaps):+.3f}" if method != reference and gaps else "0"
        lines.append(f"| {method} | {' | '.join(cells)} | {mean} |")
    parts = [note, "Median area under the K curve less that of the full method:", "\n".join(lines)]
    parts += [_of_table(board, table, board.methods) for table in board.tables]
    return "\n\n".join(parts)


def practice_report(records: Sequence[Record], note: str, *, reference: str) -> str:
    """Means over tables at each share of the fields, differences to the reference, then every table separately."""
    facts = {r["table"]: r for r in records if r["kind"] == "table"}
    cells: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for record in records:
        if record["kind"] == "selection":
            cells[record["table"], record["method"], record["share"]].append(record["metric"])
    methods = list(dict.fromkeys([reference, *(method for _, method, _ in cells)]))
    shares = list(dict.fromkeys(share for *_, share in cells))
    whole = [t for t in facts if all((t, m, share) in cells for m in methods for share in shares)]
    means = {key: float(np.mean(values)) for key, values in cells.items()}
    lines = [note, "", f"Means over {len(whole)} tables: {', '.join(whole)}.", ""]
    lines.append("| selector | " + " | ".join(f"{share} | {reference} - it | ahead in" for share in shares) + " |")
    lines.append("|---" * (1 + 3 * len(shares)) + "|")
    for method in methods if whole else []:
        shown = [method]
        for share in shares:
            own = np.array([means[table, method, share] for table in whole])
            gap = np.array([means[table, reference, share] for table in whole]) - own
            error = f" ± {gap.std(ddof=1) / len(gap) ** 0.5:.4f}" if len(gap) > 1 else ""
            ahead = ["", ""] if method == reference else [f"{gap.mean():+.4f}{error}", str(int((gap > 0).sum()))]
            shown += [f"{own.mean():.4f}", *ahead]
        lines.append(f"| {' | '.join(shown)} |")
    lines += ["", f"| table | fields | full net | K | {' | '.join(methods)} |", "|---" * (4 + len(methods)) + "|"]
    for table, fact in facts.items():
        for share, k in zip(shares, fact["ks"], strict=True):
            found = [f"{means[table, m, share]:.4f}" if (table, m, share) in means else "-" for m in methods]
            lines.append(f"| {table} | {fact['fields']} | {fact['full']:.4f} | {k} | {' | '.join(found)} |")
    return "\n".join(lines)


def _summary(board: Board, methods: Sequence[str], ranks: dict[str, float]) -> str:
    tables = board.complete()
    seeds = sorted({len(board.seeds(t, m)) for t in tables for m in methods} - {0})
    missing = sorted(set(board.tables) - set(tables))
    head = f"Over {len(tables)} tables ({', '.join(tables)}), {'-'.join(map(str, seeds))} seeds"
    head += f"; not every method has run on {', '.join(missing)}" if missing else ""
    lines = [
        head + ".",
        "",
        "| selector | mean rank | area | worst area | stability | CPU s | CPU s / full net's | MiB |",
    ]
    lines.append("|---" * 8 + "|")
    for method in methods:
        areas = [board.areas(table, method) for table in tables]
        stable = [value for t in tables if (value := board.stability(t, method)) is not None]
        seconds = [np.median([r["seconds"] for r in board.cells[t, method]]) for t in tables]
        ratios = [s / board.tables[t]["seconds"] for s, t in zip(seconds, tables, strict=True)]
        peaks = [r["peak_mib"] for t in tables for r in board.cells[t, method] if r["peak_mib"] is not None]
        cells = [
            f"{ranks[method]:.2f}" if method in ranks else "-",
            _mean([np.median(a) for a in areas], 3),
            _mean([min(a) for a in areas], 3),
            _mean(stable, 2),
            _mean(seconds, 1),
            _mean(ratios, 2),
            f"{max(peaks):.0f}" if peaks else "-",
        ]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _of_table(board: Board, table: str, methods: Sequence[str]) -> str:
    facts = board.tables[table]
    measure = "ROC AUC" if facts["classes"] == 2 else f"accuracy ({facts['classes']} classes)"
    title = (
        f"**{table}**: {facts['rows']:,} rows, {facts['fields']} fields; {measure}; full net {facts['full']:.4f}, "
        f"no field {facts['floor']:.4f}; trained in {facts['seconds']:.1f} CPU s"
    )
    has_truth = bool(facts["used_groups"])
    if has_truth:
        title += f"; truth: signal groups found of the {len(facts['used_groups'])} that the full net uses / noise kept"
    names = [f"K={k}" for k in facts["ks"]] + ["area", *(["truth"] if has_truth else []), "stability", "CPU s", "MiB"]
    lines = [title + ".", "", f"| selector | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    ordered = sorted(methods, key=lambda m: -np.median(board.areas(table, m)) if board.cells[table, m] else np.inf)
    for method in ordered:
        if not board.cells[table, method]:
            continue
        cells = [_median(board.values(table, method, k)) for k in facts["ks"]]
        cells.append(f"{np.median(board.areas(table, method)):.3f}")
        if has_truth:
            cells.append(", ".join(_truth(board, table, method, k) for k in facts["ks"]))
        stable = board.stability(table, method)
        cells.append("-" if stable is None else f"{stable:.2f}")
        records = board.cells[table, method]
        cells.append(f"{np.median([r['seconds'] for r in records]):.1f}")
        peaks = [r["peak_mib"] for r in records if r["peak_mib"] is not None]
        cells.append(f"{max(peaks):.0f}" if peaks else "-")
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _truth(board: Board, table: str, method: str, k: int) -> str:
    used = set(board.tables[table]["used_groups"])
    found = np.median([len(used & set(groups)) for groups in board.values(table, method, k, "groups")])
    noise = np.median(board.values(table, method, k, "noise"))
    return f"{found:g}/{noise:g}"


def _median(values: Sequence[float]) -> str:
    """Median, with the worst seed if seeds differ."""
    if not values:
        return "-"
    text = f"{np.median(values):.4f}"
    return text if min(values) == max(values) else f"{text} ({min(values):.4f})"


def _mean(values: Sequence[float], digits: int) -> str:
    return f"{np.mean(values):.{digits}f}" if len(values) else "-"
