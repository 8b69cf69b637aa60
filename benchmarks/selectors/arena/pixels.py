"""Positions of chosen pixels in a 28 x 28 image, and a picture of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SIDE = 28
_RIM = 3
_CELL = 10


def borders(chosen: np.ndarray) -> int:
    """Pixels in the outer 3 rows and columns."""
    rows, columns = np.divmod(np.unique(chosen), SIDE)
    edge = np.minimum(np.minimum(rows, columns), np.minimum(SIDE - 1 - rows, SIDE - 1 - columns))
    return int((edge < _RIM).sum())


def neighbours(chosen: np.ndarray) -> int:
    """Number of pairs of pixels that share a side."""
    grid = np.zeros((SIDE, SIDE), dtype=bool)
    grid.flat[chosen] = True
    return int((grid[1:] & grid[:-1]).sum() + (grid[:, 1:] & grid[:, :-1]).sum())


def draw(path: Path, chosen: np.ndarray, images: np.ndarray) -> None:
    """SVG: the mean image in grey, chosen pixels framed and coloured."""
    mean = images.mean(axis=0)
    shade = 255 - np.round(200 * mean / mean.max()).astype(int)
    cells = [
        f'<rect x="{_CELL * (p % SIDE)}" y="{_CELL * (p // SIDE)}" width="{_CELL}" height="{_CELL}" '
        f'fill="#{shade[p]:02x}{shade[p]:02x}{shade[p]:02x}"/>'
        for p in range(SIDE * SIDE)
        if shade[p] < 255
    ]
    cells += [
        f'<rect x="{_CELL * (p % SIDE) + 1}" y="{_CELL * (p // SIDE) + 1}" width="{_CELL - 2}" height="{_CELL - 2}" '
        'fill="#d1495b" stroke="#6d1a28"/>'
        for p in np.unique(chosen).tolist()
    ]
    size = _CELL * SIDE
    title = f"{len(np.unique(chosen))} of 784 pixels on the mean MNIST image"
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" width="{size}" height="{size}" '
        f'role="img">\n<title>{title}</title>\n<rect width="{size}" height="{size}" fill="#fff" stroke="#999"/>\n'
        + "\n".join(cells)
        + "\n</svg>\n",
        encoding="utf-8",
    )
