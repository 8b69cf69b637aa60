"""parity: read the test split once, compare the pruned models of each K with the full one, and decide the verdict."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from feature_audit.config import AuditConfig
from feature_audit.data import Prepared, Store, write_table
from feature_audit.errors import AuditError
from feature_audit.fitting.boosting import pruned_against_boosting
from feature_audit.fitting.cache import StageFolder
from feature_audit.fitting.looks import Look, take_look
from feature_audit.fitting.trained import open_store
from feature_audit.fitting.trainings import Trainings
from feature_audit.labels import settles
from feature_audit.metric_names import METRIC_NAMES
from feature_audit.noninferiority import Coded, ParityResult, activity, decide, fixed_sequence, metric, proven_k
from feature_audit.noninferiority.clusters import cluster_codes
from feature_audit.noninferiority.guards import FurtherTarget
from feature_audit.noninferiority.references import Reference
from feature_audit.noninferiority.reservations import Reservation, few_units
from feature_audit.question import Guard, slice_rules
from feature_audit.results import LadderRung, MetricDelta
from feature_audit.schema import Output
from feature_audit.stages.baseline import Baseline
from feature_audit.stages.load import locate
from feature_audit.stages.production import against_production, check_production
from feature_audit.stages.retrain import Retrained

log = logging.getLogger(__name__)

KEYS = (
    "metric", "margin", "confidence", "against", "guards", "slices", "slice_margin", "slice_mode", "production_score",
    "seed", "targets",
)  # fmt: skip
PREDICTIONS = "predictions.parquet"
#: Parts of the stage's key that affect only the report, not the question, as long as slices have no margin.
_REPORTED = ("config.slices", "input.store")
#: The part that says whether there is a boosting reference, which uses only validation rows.
_NOT_OF_TEST = "input.boosting"


@dataclass(frozen=True)
class Outcome:
    """The verdict and the evidence.

    Attributes:
        k: the K of the verdict: the smallest proven one, or the first if none is proven.
        result: result at that K, see ``noninferiority.ParityResult``.
        ladder: all K in the order of testing, with their verdicts.
        look: the look at the table's test rows, with its confidence.
        folder: contains the predictions.
    """

    k: int
    result: ParityResult
    ladder: list[LadderRung]
    look: Look
    folder: StageFolder


def parity(
    config: AuditConfig, prepared: Prepared, full: Baseline, pruned: Retrained, folder: StageFolder, asked: str = ""
) -> Outcome:
    """Compute the verdict, or load an earlier one; ``asked`` as in ``looks.coming_look``."""
    if folder.done:
        done = folder.result()
        ladder = [LadderRung(**rung) for rung in done["ladder"]]
        return Outcome(done["k"], _result_from(done["parity"]), ladder, Look(**done["look"]), folder)
    store = open_store(config, prepared)
    look = take_look(
        Path(config.work_dir).resolve(),
        prepared.family,
        question_digest(folder.key.parts),
        planned=config.looks,
        confidence=config.confidence,
        asked=asked,
    )
    first_of_new = Look(1, config.looks, config.confidence, "")  # a log with different rows is a new table
    target, group = store.target("test"), store.group("test")
    located = locate(config)
    first, trained = Trainings(located, prepared, full.folder), Trainings(located, prepared, pruned.folder)
    more = [trained.test_scores(full.schema, f"full_{number}") for number in range(len(pruned.full_facts))]
    baseline_scores = np.stack([first.test_scores(full.schema, full.name), *more])
    guards, slices = guards_of(config), _slices(config, store, group)
    boosting = full.references.boosting.reference
    of_full = [boosting] if boosting else []
    of_full += against_production(config, store, "full", full.schema.decision(baseline_scores))
    pruned_scores: dict[int, np.ndarray] = {}

    def references(k: int) -> list[Reference]:
        made = against_production(config, store, "pruned", full.schema.decision(pruned_scores[k]))
        if boosting is not None and boosting.clearly_worse(config.absolute_margin, look.judged_at):
            seen = np.stack([trained.validation_scores(name) for name in pruned.at(k).names])
            made.append(pruned_against_boosting(config, store, full.schema.decision(seen), full.folder))
        return [*of_full, *made]

    def judge(k: int) -> ParityResult:
        rung = pruned.at(k)
        pruned_scores[k] = np.stack([trained.test_scores(rung.schema, name) for name in rung.names])
        assert config.metric is not None
        result = decide(
            y=target,
            baseline=full.schema.decision(baseline_scores),
            pruned=full.schema.decision(pruned_scores[k]),
            cluster=group,
            weight=store.weight("test"),
            task=full.schema.task,
            metric=config.metric,
            margin=config.absolute_margin,
            confidence=look.judged_at,
            needed_at=(first_of_new.judged_at, look.next_judged_at),
            guards=guards,
            slices=slices,
            against=config.against,
            slice_values=_slice_values(config, store),
            slice_margin=config.absolute_slice_margin,
            slice_mode=config.slice_mode,
            references=references(k),
            target=next(iter(config.targets)) if config.further else "",
            further=_further(config, store, baseline_scores, pruned_scores[k]),
            shipped=rung.best_seed,
            cluster_name=unit_name(config),
            seed=config.seed,
        )
        if len(pruned.rungs) > 1:
            log.info("parity: K = %d: %s", k, result.sentence)
        return result

    results = fixed_sequence([rung.k for rung in pruned.rungs], judge)
    k = proven_k(results)
    ladder = _ladder(pruned, results, len(full.schema.fields))
    _write_predictions(folder, store, baseline_scores, pruned_scores[k])
    result = replace(results[k], sentence=" ".join(filter(None, (results[k].sentence, look.sentence))))
    rungs = [asdict(rung) for rung in ladder]
    folder.finish({"k": k, "parity": asdict(result), "ladder": rungs, "look": asdict(look)})
    return Outcome(k, result, ladder, look, folder)


def _ladder(pruned: Retrained, results: Mapping[int, ParityResult], n_features: int) -> list[LadderRung]:
    """Every K that was trained; K after the first one that did not pass have no verdict and no figures."""
    ladder = []
    for place, rung in enumerate(pruned.rungs, start=1):
        dropped = 1 - rung.k / n_features
        if rung.k not in results:
            ladder.append(LadderRung(rung.k, dropped))
            continue
        result, row = results[rung.k], results[rung.k].decision
        ladder.append(
            LadderRung(rung.k, dropped, place, result.verdict, row.delta, row.ci_low, row.ci_high, result.sentence)
        )
    return ladder


def question_digest(parts: Mapping[str, str]) -> str:
    """Digest of the question to the test rows: the parts of the stage key, except those that affect only the report."""
    reported = _REPORTED if parts.get("config.slice_margin", "null") == "null" else ()
    asked = {name: value for name, value in parts.items() if name not in (*reported, _NOT_OF_TEST)}
    return hashlib.blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=8).hexdigest()


def foresee(config: AuditConfig, store: Store) -> None:
    """Warn, before any training, of properties of the test rows that prevent a pass.

    Raises:
        AuditError: the production score cannot be compared.
    """
    check_production(config, store)
    units = store.target("test"), store.group("test"), store.schema.task, unit_name(config), store.weight("test")
    doubts = few_units(*units)
    for place, output in enumerate(store.schema.outputs[1:], start=1):
        doubts += _foreseen(config, store, place, output)
    for one in doubts:
        log.warning("load: %s: the verdict cannot be a pass. %s", one.reason, one.remedy)


def _foreseen(config: AuditConfig, store: Store, place: int, output: Output) -> list[Reservation]:
    """Properties of the test rows that prevent a pass on a secondary target.

    Raises:
        AuditError: resampling cannot measure its noise.
    """
    labels = store.targets("test")[:, place]
    held = ~np.isnan(labels)
    group, weight = (None if one is None else one[held] for one in (store.group("test"), store.weight("test")))
    codes, units = cluster_codes(group, int(held.sum()))
    if units < 2 or (codes is not None and output.task == "binary" and settles(codes, labels[held])):
        raise AuditError(
            f"targets={output.name}: its test labels come from too few {unit_name(config)}, or are determined by "
            "them, so resampling cannot measure the noise; use more test rows, or leave out the target"
        )
    if config.targets[output.name].mode != "not_worse":
        return []
    found = few_units(labels[held], group, output.task, unit_name(config), weight)
    return [replace(one, reason=f"of target {output.name}, {one.reason}") for one in found]


def unit_name(config: AuditConfig) -> str:
    """The name of the resampling units."""
    return "units" if config.group is None else f"{config.group} values"


def guards_of(config: AuditConfig) -> dict[str, Guard | None]:
    """The other metrics of the task: those with a guard, and the rest, which are reported without a margin."""
    assert config.task is not None
    assert config.metric is not None
    decision = metric(config.metric, config.task).name  # ndcg@10 is ndcg
    per_user = {"gauc", "ndcg"}
    return {
        name: config.guards.get(name)
        for name in (*METRIC_NAMES[config.task], *config.guards)
        if metric(name, config.task).name != decision and (config.group is not None or name not in per_user)
    }


def _slices(config: AuditConfig, store: Store, group: np.ndarray | None) -> dict[str, Coded]:
    slices = {
        name: Coded(store.slice_codes("test", name), store.slice_labels(name)) for name in slice_rules(config.slices)
    }
    if group is not None:
        train_group = store.group("train")
        assert train_group is not None
        slices.setdefault("activity", activity(group, train_group))
    return slices


def _slice_values(config: AuditConfig, store: Store) -> dict[str, tuple[str, ...]]:
    """The values of a column that the configuration chooses; other values are not slices."""
    chosen = [name for name, rule in slice_rules(config.slices).items() if rule is not None]
    return {name: store.slice_labels(name)[:-1] for name in chosen}  # the last one represents all others


def _further(config: AuditConfig, store: Store, baseline: np.ndarray, pruned: np.ndarray) -> list[FurtherTarget]:
    """Labels and (seeds, rows) scores of every secondary target, with its rule."""
    return [
        FurtherTarget(
            name=one.name,
            task=one.task,
            metric=str(config.targets[one.name].metric),
            margin=config.absolute_target_margin(one.name),
            mode=config.targets[one.name].mode,
            y=store.targets("test")[:, place],
            baseline=baseline[..., place],
            pruned=pruned[..., place],
        )
        for place, one in enumerate(store.schema.outputs)
        if place
    ]


def _write_predictions(folder: StageFolder, store: Store, baseline: np.ndarray, pruned: np.ndarray) -> None:
    """Write ``row_id, group, y, weight, baseline[, baseline_1, ...], pruned_0, ...``; group and weight only if present.

    Class probabilities become list columns. With several targets, these are labels and scores of the decision target,
    and the others have columns ``y (convert)``, ``baseline (convert)``, ...
    """
    columns: dict[str, Any] = {"row_id": store.ids("test")}
    labels = store.group("test")
    if labels is not None:
        assert store.group_labels is not None
        columns["group"] = store.group_labels.gather(labels)
    columns["y"] = store.target("test")
    weight = store.weight("test")
    if weight is not None:
        columns["weight"] = weight
    for place, one in enumerate(store.schema.outputs or [None]):
        of = f" ({one.name})" if one and place else ""
        full, small = (scores[..., place] if one else scores for scores in (baseline, pruned))
        columns |= {f"y{of}": store.targets("test")[:, place]} if of else {}
        columns[f"baseline{of}"] = full[0]
        columns |= {f"baseline_{number}{of}": scores for number, scores in enumerate(full[1:], start=1)}
        columns |= {f"pruned_{number}{of}": scores for number, scores in enumerate(small)}
    write_table(columns, folder.path / PREDICTIONS)


def _result_from(content: dict[str, Any]) -> ParityResult:
    content = dict(content)
    for key in ("decision", "artifact"):
        content[key] = MetricDelta(**content[key])
    content["deltas"] = [MetricDelta(**delta) for delta in content["deltas"]]
    return ParityResult(**content)
