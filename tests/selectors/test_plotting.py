"""The plot of a path."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import matplotlib as mpl
import pytest
from concrete_selectors import plot_path
from planted import learn


def test_the_picture_shows_every_measured_k_and_the_best_features(binary_task: SimpleNamespace) -> None:
    mpl.use("Agg")
    path = learn(binary_task)
    names = [f"feature {index}" for index in range(binary_task.n_features)]
    axes = plot_path(path, names=names, first=2)
    line = axes.lines[0]
    assert dict(zip(line.get_xdata(), line.get_ydata(), strict=True)) == path.heldout_loss
    listed = axes.texts[0].get_text().split("\n")
    assert listed == ["best first:", *(names[index] for index in path.ranking[:2])]
    assert plot_path(path, ax=axes) is axes
    with pytest.raises(ValueError, match="no feature was eliminated"):
        plot_path(replace(path, heldout_loss={}))
