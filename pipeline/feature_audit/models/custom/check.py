"""The contract test that ``feature-audit check-model`` runs on a user's module."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from concrete_selectors.embeddings import FlatModel
from torch import Tensor, nn

from feature_audit.batch import Batch
from feature_audit.errors import AuditError
from feature_audit.importing import what_failed
from feature_audit.models.custom.check_training import outputs_are_logits, random_like, weights_are_trained
from feature_audit.models.custom.finding import ModelFinding
from feature_audit.schema import ModelSchema


def check_model(
    module: nn.Module, schema: ModelSchema, batch: Batch, rebuild: Callable[[], nn.Module] | None = None
) -> list[ModelFinding]:
    """Check that a module follows the contract of a selector. All checks run in eval mode on one batch.

    Checks: shapes of ``embed`` and ``predict``; the same rows give the same output twice; a row's output does not
    depend on the other rows of its batch; gates of one change nothing; the output depends on the embeddings only; a
    gate of zero removes a feature, so its raw values have no effect; a deep copy, on which a selector trains, is
    complete; saved weights in a rebuilt module give the same output; gradients reach every gate, and every trainable
    weight that affects the output; a classifier's output is logits, not probabilities.

    Args:
        module: of the contract; its weights and mode are unchanged afterwards.
        schema: its N fields.
        batch: rows of the checks.
        rebuild: builds the module again, with other initial weights; None skips the check that needs it.

    Returns:
        findings in the order of the checks; checks that depend on a failed one are skipped.
    """
    was_training = module.training
    module.eval()
    try:
        return _checks(module, schema, batch, rebuild)
    finally:
        module.train(was_training)


def _checks(
    module: Any, schema: ModelSchema, batch: Batch, rebuild: Callable[[], nn.Module] | None
) -> list[ModelFinding]:
    findings: list[ModelFinding] = []
    try:
        output = _run(module, batch)
        findings.append(_shapes(module, output, schema, batch))
    except AuditError as error:
        return [ModelFinding("shapes", False, str(error))]
    if not findings[-1].passed:
        return findings
    findings.append(_repeatable(module, batch, output))
    if not findings[-1].passed:
        return findings  # else most of the checks below would fail for the same reason
    findings.append(_rows_apart(module, batch, output))
    with torch.no_grad():
        whole = module(batch)
    findings.append(_agree("gates of one", "forward(batch) equals predict(embed(batch) * 1)", whole, output))
    findings.append(_embeddings_alone(module, batch))
    findings.append(_cut_off(module, schema, batch))
    findings.append(_copies(module, schema, batch))
    copies_are_whole = findings[-1].passed
    if rebuild is not None and copies_are_whole:
        findings.append(_saved(module, batch, rebuild))
    if copies_are_whole:
        findings.append(weights_are_trained(module, batch))
    tasks = {one.task for one in schema.outputs} or {schema.task}
    if copies_are_whole and "regression" not in tasks:
        findings.append(outputs_are_logits(module, schema, batch))
    findings.append(_gradients(module, schema, batch))  # last: modules may keep a graph, which cannot be copied
    return findings


def _run(module: Any, batch: Batch, gate: Tensor | None = None) -> Tensor:
    """Output for a batch, with field gates (N,)."""
    model = FlatModel(module)
    with torch.no_grad():
        embedded = model.embed(batch)
        return model.predict(embedded if gate is None else model.segments.scale(embedded, gate))


def _shapes(module: Any, output: Tensor, schema: ModelSchema, batch: Batch) -> ModelFinding:
    """Check the shapes for the batch, and for half of its rows in another order."""
    rows, model = len(batch), FlatModel(module)
    with torch.no_grad():
        for part in (batch, batch.rows(torch.arange((rows + 1) // 2).flip(0))):
            found = model.embed(part)
    columns = len(schema.outputs) or (schema.n_classes if schema.task == "multiclass" else None)
    wanted = (rows,) if columns is None else (rows, columns)
    widths = model.segments.widths
    if len(widths) != len(schema.fields) or len(found) != (rows + 1) // 2:
        made = f"{len(widths)} embeddings of {len(found)} rows"
        return ModelFinding(
            "shapes", False, f"embed returns {made}, expected {len(schema.fields)} of {(rows + 1) // 2}"
        )
    if found.dtype == torch.float64:  # the selector's surrogate is float32
        return ModelFinding("shapes", False, "embed returns float64; build the module in float32, without .double()")
    if tuple(output.shape) != wanted:
        why = f", one column for each of schema.outputs: {', '.join(one.name for one in schema.outputs)}"
        asked = f"{wanted}{why if schema.outputs else ''}"
        if columns is None:
            asked += "; return one logit or value a row: of several outputs, that of the target, or set `targets`"
        return ModelFinding("shapes", False, f"predict returns {tuple(output.shape)}, expected {asked}")
    if not torch.isfinite(output).all():
        return ModelFinding("shapes", False, "predict returns values that are not finite")
    span = f"{widths.min()}" if widths.min() == widths.max() else f"{widths.min()} to {widths.max()}"
    return ModelFinding("shapes", True, f"embed {rows} rows x {len(widths)} features of width {span}, predict {wanted}")


def _repeatable(module: Any, batch: Batch, output: Tensor) -> ModelFinding:
    found = _agree("repeatable", "the same rows give the same output again", output, _run(module, batch))
    remedy = "; keep no state between calls, and draw no random numbers after eval()"
    return found if found.passed else replace(found, detail=found.detail + remedy)


def _rows_apart(module: Any, batch: Batch, output: Tensor) -> ModelFinding:
    """Score half of the rows, and then one: a service scores a row together with other rows than the test did."""
    check, what = "rows apart", "a row's output does not depend on the other rows of its batch"
    remedy = "; use no statistics of the batch in eval mode (batch norm without running statistics, a mean over rows)"
    for rows in (torch.arange((len(batch) + 1) // 2).flip(0), torch.arange(1)):
        try:
            found = _agree(check, what, output[rows.to(output.device)], _run(module, batch.rows(rows)))
        except Exception as error:  # raised by the user's code, which worked with all rows
            return ModelFinding(check, False, f"{len(rows)} of the rows alone: {what_failed(error)}{remedy}")
        if not found.passed:
            return replace(found, detail=found.detail + remedy)
    return found


def _agree(check: str, what: str, first: Tensor, second: Tensor) -> ModelFinding:
    gap = (first - second).abs().max().item()
    allowed = 1e-4 * max(1.0, first.abs().max().item())
    return ModelFinding(check, gap <= allowed, f"{what} (largest difference {gap:.2g})")


def _embeddings_alone(module: Any, batch: Batch) -> ModelFinding:
    """Predict from a batch's embeddings after other rows were embedded; only the embeddings may matter."""
    turned = batch.rows(torch.arange(len(batch)).roll(1))
    model, output = FlatModel(module), _run(module, batch)
    with torch.no_grad():
        embedded = model.embed(batch)
        model.embed(turned)
        again = model.predict(embedded)
    return _agree("embeddings alone", "predict depends only on the embeddings of a row", output, again)


def _cut_off(module: Any, schema: ModelSchema, batch: Batch) -> ModelFinding:
    """Close one gate at a time and shuffle that field's raw values: the output must not change."""
    check, tried, moves = "gates of zero", 0, []
    for place in _spread(len(schema.fields), 16):
        name = schema.fields[place].name
        shuffled = _shuffle_field(batch, schema, place)
        gate = torch.ones(len(schema.fields), device=batch.numeric.device)
        gate[place] = 0
        closed, closed_shuffled = _run(module, batch, gate), _run(module, shuffled, gate)
        if (closed - closed_shuffled).abs().max() > 1e-5 * max(1.0, closed.abs().max().item()):
            return ModelFinding(
                check,
                False,
                f"{name} still affects the output although its gate is closed: the model also reads it elsewhere, or "
                "its embedding is in the position of another feature",
            )
        moves.append((closed - _run(module, batch)).abs().max().item())
        tried += 1
    if moves and max(moves) == 0:
        return ModelFinding(check, False, f"closing the gate of any of {tried} fields does not change the output")
    return ModelFinding(check, True, f"a closed gate hides the raw values of its field ({tried} fields tried)")


def _copies(module: Any, schema: ModelSchema, batch: Batch) -> ModelFinding:
    """A selector trains a deep copy: it must give the original's output, also after the original changes."""
    check, gate = "copies", torch.arange(len(schema.fields), device=batch.numeric.device) % 2.0
    wanted = _both(module, batch, gate)
    try:
        twin = copy.deepcopy(module)
        same = _agree(check, "a deep copy gives the same output and gates", wanted, _both(twin, batch, gate))
        with _other_weights(module):
            independent = _agree(check, "", wanted, _both(twin, batch, gate)).passed
    except Exception as error:  # members of a user's module may raise anything when copied
        return ModelFinding(check, False, f"a deep copy does not work: {what_failed(error)}")
    if not same.passed:
        return same
    if not independent:
        return ModelFinding(
            check,
            False,
            "a deep copy still uses the weights of the original; a hook, lambda or closure refers to the original "
            "(self): use the module that a hook receives, or a method",
        )
    del twin  # as large as the model
    try:
        pickled = _both(pickle.loads(pickle.dumps(module)), batch, gate)
    except Exception as error:
        return replace(
            same, detail=f"{same.detail}; it cannot be pickled, which an audit does not need: {what_failed(error)}"
        )
    return _agree(check, "a deep copy and a pickled copy give the same output and gates", wanted, pickled)


def _both(module: Any, batch: Batch, gate: Tensor) -> Tensor:
    """Outputs with open gates and with the given ones, (2, B, ...)."""
    return torch.stack([_run(module, batch), _run(module, batch, gate)])


@contextmanager
@torch.no_grad()
def _other_weights(module: nn.Module) -> Iterator[None]:
    """Within the context, the module has other weights."""
    weights = [weight for weight in (*module.parameters(), *module.buffers()) if weight.is_floating_point()]
    kept = [weight.clone() for weight in weights]
    try:
        for weight in weights:
            weight.add_(torch.rand_like(weight) + 1)
        yield
    finally:
        for weight, before in zip(weights, kept, strict=True):
            weight.copy_(before)


def _saved(module: Any, batch: Batch, rebuild: Callable[[], nn.Module]) -> ModelFinding:
    """Stages pass models on as weights; any other learned or drawn state is lost, which changes the scores."""
    check, file = "saved weights", io.BytesIO()
    trained, again = copy.deepcopy(module), rebuild().eval().to(batch.numeric.device)
    with torch.no_grad():
        trained.train()(batch)  # updates state taken from train batches, such as running means
    trained.eval()
    try:
        torch.save(trained.state_dict(), file)
        file.seek(0)
        again.load_state_dict(torch.load(file, weights_only=True))
        _run(again, batch.rows(torch.arange((len(batch) + 1) // 2)))  # a first call with other rows than the original's
    except Exception as error:
        return ModelFinding(check, False, f"they cannot be loaded: {what_failed(error)}")
    what = "a rebuilt module with the saved weights gives the same output"
    found = _agree(check, what, _run(trained, batch), _run(again, batch))
    remedy = "; register what the output depends on as a parameter, buffer or submodule"
    return found if found.passed else replace(found, detail=found.detail + remedy)


def _gradients(module: Any, schema: ModelSchema, batch: Batch) -> ModelFinding:
    gate = torch.ones(len(schema.fields), device=batch.numeric.device, requires_grad=True)
    model = FlatModel(module)
    with torch.no_grad():
        embedded = model.embed(batch)
    with torch.enable_grad():
        output = model.predict(model.segments.scale(embedded, gate))
    gradient = None
    if output.requires_grad:
        (gradient,) = torch.autograd.grad((output * random_like(output)).sum(), gate, allow_unused=True)
    if gradient is None:
        return ModelFinding(
            "gradients", False, "no gradient reaches the gates; predict breaks the graph (detach, no_grad?)"
        )
    lost = [schema.fields[place].name for place in torch.nonzero(gradient == 0).flatten().tolist()]
    if lost:
        share = (
            f"{len(lost)} of {len(schema.fields)} gates get no gradient, e.g. {lost[0]}; if the model does not read "
            "these columns, `exclude` them, otherwise look for detach or no_grad"
        )
        return ModelFinding("gradients", len(lost) <= len(schema.fields) // 2, share)
    return ModelFinding("gradients", True, "gradients reach every gate")


def _spread(total: int, most: int) -> list[int]:
    """At most ``most`` positions, spread evenly over ``range(total)``."""
    return sorted({round(step * (total - 1) / max(most - 1, 1)) for step in range(min(total, most))})


def _shuffle_field(batch: Batch, schema: ModelSchema, place: int) -> Batch:
    field = schema.fields[place]
    within = sum(other.form == field.form for other in schema.fields[:place])
    order = torch.arange(len(batch)).roll(1)
    numeric, codes, bags, vectors = batch.numeric, batch.codes, list(batch.bags), list(batch.vectors)
    if field.form == "numeric":
        numeric = numeric.clone()
        numeric[:, within] = numeric[order, within]
    elif field.form == "code":
        codes = codes.clone()
        codes[:, within] = codes[order, within]
    elif field.form == "bag":
        bags[within] = bags[within][order]
    else:
        vectors[within] = vectors[within][order]
    return replace(batch, numeric=numeric, codes=codes, bags=tuple(bags), vectors=tuple(vectors))
