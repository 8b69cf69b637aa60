"""Runs methods over seeds and K of one table, and records the results."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from arena.case import Case
from arena.meter import Meter, Spent
from arena.records import Results
from arena.scoring import truth_found

#: K -> kept set (sorted field numbers).
Chosen = Callable[[int], np.ndarray]
#: (case, seed, changes of the settings) -> selection.
Method = Callable[[Case, int, dict[str, Any]], Chosen]


def run_table(
    case: Case,
    methods: Mapping[str, Method],
    results: Results,
    *,
    seeds: Sequence[int],
    trials: Callable[[str], Sequence[dict[str, Any]]] = lambda method: [{}],
    deterministic: Collection[str] = (),
    one_seed: Collection[str] = (),
) -> None:
    """Run every method on one table, except runs that the results already contain.

    Args:
        case: the table.
        methods: name -> method.
        results: receives the records.
        seeds: seeds of the selections; trials use the first.
        trials: method -> settings, of which validation chooses one.
        deterministic: methods that ignore the seed, so that one run counts for all.
        one_seed: other methods that run with the first seed only.
    """
    if not results.has(kind="table", table=case.name):
        results.add({"kind": "table", "table": case.name, **case.facts()})
    for name, method in methods.items():
        for seed in seeds[:1] if name in (*deterministic, *one_seed) else seeds:
            if _is_done(results, case.name, name, seed):
                continue
            changes, ready = _tuned(case, name, method, trials(name), results, seeds[0])
            chosen, spent = ready if ready is not None and seed == seeds[0] else _measured(case, method, seed, changes)
            _record(case, name, seed, changes, chosen, spent, results, fixed=name in deterministic)


def is_done(
    table: str,
    methods: Iterable[str],
    results: Results,
    *,
    seeds: Sequence[int],
    deterministic: Collection[str] = (),
    one_seed: Collection[str] = (),
) -> bool:
    """Whether the results contain every selection of a table."""
    once = (*deterministic, *one_seed)
    wanted = [(name, seed) for name in methods for seed in (seeds[:1] if name in once else seeds)]
    return all(_is_done(results, table, name, seed) for name, seed in wanted)


def _is_done(results: Results, table: str, method: str, seed: int) -> bool:
    facts = results.find(kind="table", table=table)
    ks = facts[-1]["ks"] if facts else [None]
    return all(results.has(kind="selection", table=table, method=method, seed=seed, k=k) for k in ks)


def _measured(case: Case, method: Method, seed: int, changes: dict[str, Any]) -> tuple[Chosen, Spent]:
    with Meter() as meter:
        chosen = method(case, seed, changes)
    return chosen, meter.spent


def _tuned(
    case: Case, name: str, method: Method, options: Sequence[dict[str, Any]], results: Results, seed: int
) -> tuple[dict[str, Any], tuple[Chosen, Spent] | None]:
    """The trial with the lowest validation loss of retrained nets, averaged over K; its selection, if run just now."""
    if len(options) == 1:
        return options[0], None
    known = results.find(kind="trials", table=case.name, method=name)
    if known:
        return known[-1]["chosen"], None
    runs = [_measured(case, method, seed, changes) for changes in options]
    losses = [float(np.mean([case.retrained(chosen(k)).validation_loss for k in case.ks])) for chosen, _ in runs]
    best = int(np.argmin(losses))
    results.add(
        {
            "kind": "trials",
            "table": case.name,
            "method": name,
            "options": list(options),
            "validation_loss": losses,
            "chosen": options[best],
            "seconds": sum(spent.seconds for _, spent in runs),
        }
    )
    return options[best], runs[best]


def _record(
    case: Case,
    name: str,
    seed: int,
    changes: dict[str, Any],
    chosen: Chosen,
    spent: Spent,
    results: Results,
    *,
    fixed: bool,
) -> None:
    for k in case.ks:
        kept = chosen(k)
        outcome = case.retrained(kept)
        results.add(
            {
                "kind": "selection",
                "table": case.name,
                "method": name,
                "seed": seed,
                "k": k,
                "changes": changes,
                "deterministic": fixed,
                "metric": outcome.metric,
                "loss": outcome.loss,
                "validation_loss": outcome.validation_loss,
                "kept": kept.tolist(),
                "seconds": spent.seconds,
                "peak_mib": spent.peak_mib,
                **truth_found(case.table, kept),
            }
        )
    texts = [f"{r['metric']:.4f}" for r in results.find(kind="selection", table=case.name, method=name, seed=seed)]
    print(f"{case.name} {name} seed {seed}: {' '.join(texts)}, {spent.seconds:.1f} CPU s {changes or ''}", flush=True)
