"""parity: read the test split once, compare the pruned models of each K with the full one, give the verdict."""

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
from feature_audit.fitting.cache import StageFolder
from feature_audit.fitting.looks import Look, take_look
from feature_audit.fitting.trained import open_store
from feature_audit.fitting.trainings import Trainings
from feature_audit.metric_names import METRIC_NAMES
from feature_audit.noninferiority import ParityResult, activity, decide, fixed_sequence, metric, proven_k
from feature_audit.noninferiority.reservations import few_units
from feature_audit.question import Guard, slice_rules
from feature_audit.results import LadderRung, MetricDelta
from feature_audit.stages.baseline import Baseline
from feature_audit.stages.load import locate
from feature_audit.stages.production import check_production, production_reference
from feature_audit.stages.retrain import Retrained

log = logging.getLogger(__name__)

KEYS = (
    "metric", "margin", "confidence", "against", "guards", "slices", "slice_margin", "slice_mode", "production_score",
    "seed",
)  # fmt: skip
PREDICTIONS = "predictions.parquet"
#: Parts of the stage's key that change what is reported and not what is asked, as long as no slice has a margin.
_REPORTED = ("config.slices", "input.store")
#: The part that says whether there is a boosting reference, which is compared on validation rows.
_NOT_OF_TEST = "input.boosting"


@dataclass(frozen=True)
class Outcome:
    """The verdict and the evidence.

    Attributes:
        k: the K that the verdict is about: the smallest proven one, or the first where none is.
        result: of that K, see ``parity.ParityResult``.
        ladder: all K in the order of testing, with their verdicts.
        look: which reading of the table's test rows this is, and at what confidence it was judged.
        folder: holds the predictions.
    """

    k: int
    result: ParityResult
    ladder: list[LadderRung]
    look: Look
    folder: StageFolder


def parity(
    config: AuditConfig, prepared: Prepared, full: Baseline, pruned: Retrained, folder: StageFolder, asked: str = ""
) -> Outcome:
    """Give the verdict, or read the one given before; ``asked`` is that of ``looks.coming_look``."""
    if folder.done:
        done = folder.result()
        ladder = [LadderRung(**rung) for rung in done["ladder"]]
        return Outcome(done["k"], _result_from(done["parity"]), ladder, Look(**done["look"]), folder)
    store = open_store(config, prepared)
    look = take_look(
        Path(config.work_dir).resolve(),
        prepared.family,
        question(folder.key.parts),
        planned=config.looks,
        confidence=config.confidence,
        asked=asked,
    )
    first_of_new = Look(1, config.looks, config.confidence, "")  # a log with other rows is a new table
    target, group = store.target("test"), store.group("test")
    located = locate(config)
    first, trained = Trainings(located, prepared, full.folder), Trainings(located, prepared, pruned.folder)
    more = [trained.test_scores(full.schema, f"full_{number}") for number in range(len(pruned.full_facts))]
    baseline_scores = np.stack([first.test_scores(full.schema, full.name), *more])
    guards, slices = guards_of(config), _slices(config, store, group)
    boosting = full.references.boosting.reference
    references = [*([boosting] if boosting else []), *production_reference(config, store, baseline_scores)]
    pruned_scores: dict[int, np.ndarray] = {}

    def judge(k: int) -> ParityResult:
        rung = pruned.at(k)
        pruned_scores[k] = np.stack([trained.test_scores(rung.schema, name) for name in rung.names])
        assert config.metric is not None
        result = decide(
            y=target,
            baseline=baseline_scores,
            pruned=pruned_scores[k],
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
            references=references,
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
    _write_predictions(folder, store, target, baseline_scores, pruned_scores[k])
    result = replace(results[k], sentence=" ".join(filter(None, (results[k].sentence, look.sentence))))
    rungs = [asdict(rung) for rung in ladder]
    folder.finish({"k": k, "parity": asdict(result), "ladder": rungs, "look": asdict(look)})
    return Outcome(k, result, ladder, look, folder)


def _ladder(pruned: Retrained, results: Mapping[int, ParityResult], n_features: int) -> list[LadderRung]:
    """Every K that was trained; those after the first that did not pass have no verdict and no figures."""
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


def question(parts: Mapping[str, str]) -> str:
    """Digest of what is asked of the test rows: of the parts of the stage's key without what is only reported."""
    reported = _REPORTED if parts.get("config.slice_margin", "null") == "null" else ()
    asked = {name: value for name, value in parts.items() if name not in (*reported, _NOT_OF_TEST)}
    return hashlib.blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=8).hexdigest()


def foresee(config: AuditConfig, store: Store) -> None:
    """Say before anything is trained what about the test rows will keep the audit from a pass.

    Raises:
        AuditError: production's score cannot be compared.
    """
    check_production(config, store)
    units = store.target("test"), store.group("test"), store.schema.task, unit_name(config), store.weight("test")
    for one in few_units(*units):
        log.warning("load: %s: no verdict but fail or inconclusive is possible. %s", one.reason, one.remedy)


def unit_name(config: AuditConfig) -> str:
    """What the resampled units are called."""
    return "units" if config.group is None else f"{config.group} values"


def guards_of(config: AuditConfig) -> dict[str, Guard | None]:
    """The task's other metrics: those with a guard, and the rest, which is reported without a margin."""
    assert config.task is not None
    assert config.metric is not None
    decision = metric(config.metric, config.task).name  # ndcg@10 is ndcg
    per_user = {"gauc", "ndcg"}
    return {
        name: config.guards.get(name)
        for name in (*METRIC_NAMES[config.task], *config.guards)
        if metric(name, config.task).name != decision and (config.group is not None or name not in per_user)
    }


def _slices(config: AuditConfig, store: Store, group: np.ndarray | None) -> dict[str, np.ndarray]:
    slices = {name: store.slice_values("test", name) for name in slice_rules(config.slices)}
    if group is not None:
        train_group = store.group("train")
        assert train_group is not None
        slices.setdefault("activity", activity(group, train_group))
    return slices


def _slice_values(config: AuditConfig, store: Store) -> dict[str, tuple[str, ...]]:
    """The values that the configuration chooses of a column; all others are no slice."""
    chosen = [name for name, rule in slice_rules(config.slices).items() if rule is not None]
    return {name: store.slice_labels(name)[:-1] for name in chosen}  # the last one stands for all others


def _write_predictions(
    folder: StageFolder, store: Store, target: np.ndarray, baseline: np.ndarray, pruned: np.ndarray
) -> None:
    """``row_id, group, y, weight, baseline[, baseline_1, ...], pruned_0, ...``, group and weight where there are any.

    Class probabilities become list columns.
    """
    columns: dict[str, Any] = {"row_id": store.row_id("test")}
    labels = store.group("test")
    if labels is not None:
        columns["group"] = np.asarray(store.group_labels)[labels]
    columns["y"] = target
    weight = store.weight("test")
    if weight is not None:
        columns["weight"] = weight
    columns["baseline"] = baseline[0]
    columns |= {f"baseline_{number}": scores for number, scores in enumerate(baseline[1:], start=1)}
    columns |= {f"pruned_{number}": scores for number, scores in enumerate(pruned)}
    write_table(columns, folder.path / PREDICTIONS)


def _result_from(content: dict[str, Any]) -> ParityResult:
    content = dict(content)
    for key in ("decision", "artifact"):
        content[key] = MetricDelta(**content[key])
    content["deltas"] = [MetricDelta(**delta) for delta in content["deltas"]]
    return ParityResult(**content)
