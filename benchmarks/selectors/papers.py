"""Experiments of the papers on available data sets: MNIST reconstruction, and classification from 50 features.

    python benchmarks/selectors/papers.py reconstruction --picture docs/assets/mnist-pixels.svg
    python benchmarks/selectors/papers.py classification --csv FILE

Rows are split 80 / 20 at random with the seed. *Reconstruction* (CAE: Abid et al. 2019; IP-CAE: Nilsson et al. 2024):
pixels in [0, 1], K = 50 slots, a decoder 50 - 200 - 784 with LayerNorm and LeakyReLU(0.2), Adam 1e-3, batches of 128,
temperature 10 to 0.01 per step. As published, the selector has the decoder's learning rate, CAE draws one mask per
batch, IP-CAE one per row with P = N. The tuned CAE's rate is the best of four on a tenth of the train rows, seed 0.
The error is that of the trained decoder with every slot at its argmax on test rows, over the pixels' total variance.
*Classification*: `IPCAESelector(50)` with its defaults on the train rows; then a net of 200 hidden units on the kept
columns, trained from scratch, with early stopping on a tenth of the train rows. Cells: median, worst seed in brackets.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from arena import tables
from arena.pixels import borders, draw, neighbours
from concrete_selectors import ConcreteAutoencoderSelector, ConcreteSelector, IPCAESelector
from concrete_selectors.sklearn.autoencoder import Noise, SlotSettings, decoder, train_slots
from torch import Tensor
from torch.nn import functional

sys.path.append(str(Path(__file__).resolve().parents[1]))
from measured import Table, csv_option

K = 50
CAE_RATES = (2e-2, 5e-2, 1e-1, 2e-1)


@dataclass(frozen=True)
class Form:
    """One way to train a selector."""

    name: str
    kind: str
    rank: int | None
    noise: Noise
    rate: float | None


#: None = the CAE form with its selector's rate tuned.
FORMS = {
    "cae": Form("CAE as published", "cae", None, "batch", 1e-3),
    "cae-tuned": None,
    "ip-cae": Form("IP-CAE as published (P = N, mask per row)", "ip_cae", 784, "row", 1e-3),
    "library": Form("IP-CAE of the library (P = 64, 8 masks per batch, rate from the steps)", "ip_cae", None, 8, None),
}


@dataclass(frozen=True)
class Outcome:
    """One training: test error, the slots' argmaxes and their probability, CPU seconds."""

    error: float
    chosen: np.ndarray
    certainty: float
    seconds: float

    @property
    def distinct(self) -> int:
        return len(np.unique(self.chosen))


def images() -> tuple[np.ndarray, np.ndarray]:
    """(10,000, 784) float32 in [0, 1] and labels."""
    import polars as pl

    frame = pl.read_parquet(tables.DATA / "mnist-test/mnist-test.parquet")
    return frame.drop("label").to_numpy().astype(np.float32) / 255, frame["label"].to_numpy().astype(np.int64)


def letters() -> tuple[np.ndarray, np.ndarray]:
    """ISOLET: (1,560, 617) float32 and labels."""
    from scipy.io import loadmat

    content = loadmat(tables.DATA / "highdim/Isolet.mat")
    return content["X"].astype(np.float32), np.unique(content["Y"].ravel(), return_inverse=True)[1]


def split(rows: int, seed: int, *, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers: the given share, and the rest."""
    return tuple(np.split(np.random.default_rng(seed).permutation(rows), [int(share * rows)]))


def reconstruct(form: Form, train: Tensor, test: Tensor, *, epochs: int, seed: int) -> Outcome:
    """Train slots and decoder, then evaluate with every slot at its argmax."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    selector = ConcreteSelector(train.shape[1], K, kind=form.kind, rank=form.rank, generator=generator)
    head = decoder(K, (200,), train.shape[1])
    settings = SlotSettings(
        epochs=epochs, batch_size=128, temperature_start=10.0, temperature_end=0.01, anneal_share=1.0,
        learning_rate=1e-3, selector_learning_rate=form.rate, noise=form.noise, diversity=0.0, seed=seed,
    )  # fmt: skip
    started = time.process_time()
    train_slots(selector, head, train, train, loss=lambda out, x: (out - x).square().mean(dim=1), settings=settings)
    seconds = time.process_time() - started
    chosen = selector.logits().detach().argmax(dim=1)
    with torch.no_grad():
        error = (head(test[:, chosen]) - test).square().sum() / (test - train.mean(dim=0)).square().sum()
    return Outcome(float(error), chosen.numpy(), selector.mean_max_probability(), seconds)


def tuned_cae(train: Tensor, *, epochs: int) -> Form:
    """CAE with the selector's learning rate that is best on a tenth of the train rows."""
    fit, held = split(len(train), 0, share=0.9)
    forms = [Form(f"CAE, selector's rate tuned ({rate:g})", "cae", None, "batch", rate) for rate in CAE_RATES]
    errors = [reconstruct(form, train[fit], train[held], epochs=epochs, seed=0).error for form in forms]
    print("tuning CAE:", ", ".join(f"{f.rate:g}: {e:.4f}" for f, e in zip(forms, errors, strict=True)), flush=True)
    return forms[int(np.argmin(errors))]


def reconstruction(
    seeds: Sequence[int], names: Sequence[str], *, epochs: int, picture: Path | None, path: Path | None
) -> None:
    """The table of reconstruction errors, and the picture of the last form's pixels with the first seed."""
    x = torch.as_tensor(images()[0])
    parts = {seed: split(len(x), seed, share=0.8) for seed in seeds}
    forms = [FORMS[name] or tuned_cae(x[parts[seeds[0]][0]], epochs=epochs) for name in names]
    titles = ["test error / variance", "distinct of 50", "mean largest probability", "on the border", "side by side"]
    print(f"\nMNIST reconstruction, K = {K}, {epochs} epochs, seeds {list(seeds)}\n")
    shown = Table(["form", *titles, "CPU s per epoch"], path)
    for form in forms:
        outcomes = [reconstruct(form, x[parts[s][0]], x[parts[s][1]], epochs=epochs, seed=s) for s in seeds]
        cells = [
            _cell([o.error for o in outcomes], worst=max, digits=3),
            _cell([o.distinct for o in outcomes], worst=min, digits=0),
            _cell([o.certainty for o in outcomes], worst=min, digits=3),
            _cell([borders(o.chosen) for o in outcomes], worst=max, digits=0),
            _cell([neighbours(o.chosen) for o in outcomes], worst=max, digits=0),
            f"{np.median([o.seconds for o in outcomes]) / epochs:.2f}",
        ]
        shown.add(
            [form.name, *cells],
            *(
                {
                    "form": form.name, "epochs": epochs, "seed": seed, "test_error": o.error, "distinct": o.distinct,
                    "mean_largest_probability": o.certainty, "on_the_border": borders(o.chosen),
                    "side_by_side": neighbours(o.chosen), "cpu_seconds": o.seconds,
                }
                for seed, o in zip(seeds, outcomes, strict=True)
            ),
        )  # fmt: skip
        if picture is not None and form is forms[-1]:
            draw(picture, outcomes[0].chosen, x.numpy())
    rim = borders(np.arange(784))
    print(f"\n`on the border`: pixels in the outer 3 rows and columns ({rim} of 784); `side by side`: pairs.")


def classification(seeds: Sequence[int], path: Path | None) -> None:
    """Accuracy of nets on 50 columns chosen by IP-CAE, CAE without labels, at random, and on all columns."""
    warnings.simplefilter("ignore")
    print(f"Accuracy on the test fifth, K = {K}, seeds {list(seeds)}\n")
    head = "set", "IPCAESelector", "CAE selector, no labels", "at random", "all columns", "CPU s to select"
    shown = Table(head, path)
    for name, read in (("ISOLET", letters), ("MNIST", images)):
        x, y = read()
        found: dict[str, list[float]] = {"ip_cae": [], "cae": [], "random": [], "all": []}
        seconds = []
        for seed in seeds:
            train, test = split(len(x), seed, share=0.8)
            started = time.process_time()
            supervised = IPCAESelector(K, random_state=seed).fit(x[train], y[train]).get_support(indices=True)
            seconds.append(time.process_time() - started)
            sets = {
                "ip_cae": supervised,
                "cae": ConcreteAutoencoderSelector(K, random_state=seed).fit(x[train]).get_support(indices=True),
                "random": np.random.default_rng(seed).permutation(x.shape[1])[:K],
                "all": np.arange(x.shape[1]),
            }
            for key, kept in sets.items():
                found[key].append(accuracy(x[:, kept], y, train, test, seed=seed))
        cells = [_cell(values, worst=min, digits=4) for values in found.values()]
        shown.add(
            [name, *cells, f"{np.median(seconds):.0f}"],
            *(
                {"set": name, "columns": key, "seed": seed, "accuracy": value}
                for key, values in found.items()
                for seed, value in zip(seeds, values, strict=True)
            ),
        )


def accuracy(x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, *, seed: int) -> float:
    """Test accuracy of a net of 200 hidden units with dropout, stopped early on a tenth of the train rows."""
    fit, held = (train[part] for part in split(len(train), seed, share=0.9))
    mean, spread = x[fit].mean(axis=0), x[fit].std(axis=0)
    scaled = torch.as_tensor((x - mean) / np.where(spread > 0, spread, 1.0)).clamp(-5, 5)
    target = torch.as_tensor(y)
    torch.manual_seed(seed)
    head = torch.nn.Sequential(torch.nn.Dropout(0.1), *decoder(x.shape[1], (200,), int(y.max()) + 1))
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3, weight_decay=1e-4)
    best, result = np.inf, 0.0
    random = np.random.default_rng(seed)
    for _ in range(60):
        head.train()
        for index in torch.as_tensor(random.permutation(fit)).split(32):
            optimizer.zero_grad()
            functional.cross_entropy(head(scaled[index]), target[index]).backward()
            optimizer.step()
        head.eval()
        with torch.no_grad():
            loss = float(functional.cross_entropy(head(scaled[held]), target[held]))
            if loss < best:
                best, result = loss, float((head(scaled[test]).argmax(dim=1) == target[test]).float().mean())
    return result


def _cell(values: Sequence[float], *, worst: object, digits: int) -> str:
    middle, bad = float(np.median(values)), worst(values)
    return f"{middle:.{digits}f}" + (f" ({bad:.{digits}f})" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["reconstruction", "classification"])
    parser.add_argument("--epochs", type=int, default=30, help="of the reconstruction; the papers train 200")
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=list(FORMS), metavar="FORM")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--picture", type=Path, help="SVG of the pixels that the last form chose")
    csv_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        if options.part == "reconstruction":
            how = {"epochs": options.epochs, "picture": options.picture, "path": options.csv}
            reconstruction(options.seeds, options.forms, **how)
        else:
            classification(options.seeds, options.csv)
    except FileNotFoundError as error:
        parser.exit(2, f"{error.filename}: not here; this benchmark needs ISOLET and MNIST below shared/data\n")


if __name__ == "__main__":
    main()
