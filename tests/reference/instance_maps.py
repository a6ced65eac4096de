"""Hypothesis strategies: tiles with true and predicted nuclei of all difficult kinds."""

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

Tile = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""True nuclei, their classes pixel by pixel, predicted nuclei, their classes."""

FEW_IDS = (1, 2, 3, 7, 40, 300, 65_535, 70_000, 2**31 - 1)
FEW = 4
"""Most nuclei of a small tile."""

CROWD = 300
"""Nuclei of the fullest tiles; PanNuke's fullest has 289."""


@st.composite
def few_nuclei(draw: st.DrawFn, shape: tuple[int, int]) -> np.ndarray:
    """Rectangles painted over one another: touching, nested, overpainted, single pixels, ids with gaps, or none."""
    dtype = draw(st.sampled_from([np.uint16, np.int32, np.uint32, np.int64]))
    ids = st.sampled_from([i for i in FEW_IDS if i <= np.iinfo(dtype).max])
    instances = np.zeros(shape, dtype)
    for label in draw(st.lists(ids, max_size=FEW, unique=True)):
        top, left = draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))
        bottom, right = draw(st.integers(top, shape[0] - 1)), draw(st.integers(left, shape[1] - 1))
        instances[top : bottom + 1, left : right + 1] = label
    return instances


@st.composite
def small_tiles(draw: st.DrawFn) -> Tile:
    """At most four nuclei per side; the predicted ones are unrelated, equal to the true ones, or shifted."""
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    truth = draw(few_nuclei(shape))
    moved = st.integers(0, 2).map(lambda by: np.roll(truth, by, axis=0))
    predicted = draw(st.one_of(few_nuclei(shape), st.just(truth), moved))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    truth_classes = (rng.integers(0, 6, shape) * (truth > 0)).astype(np.uint8)
    predicted_classes = truth_classes if draw(st.booleans()) else rng.integers(0, 6, shape).astype(np.int64)
    return truth, truth_classes, predicted, predicted_classes


@st.composite
def instance_maps(draw: st.DrawFn, kind: str, *, side_px: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Nuclei of one of `KINDS` with ids of one of `NUMBERINGS`, as 16-, 32- or 64-bit integers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.tuples(st.integers(*side_px), st.integers(*side_px)))
    return _renumbered(KINDS[kind](rng, shape), rng, draw(st.sampled_from(sorted(NUMBERINGS))))


@st.composite
def tiles(draw: st.DrawFn, kind: str) -> Tile:
    """True nuclei of one of `KINDS`; the predicted ones are unrelated or one of `CHANGES` of the true ones."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.tuples(st.integers(48, 64), st.integers(48, 64)))
    truth = KINDS[kind](rng, shape)
    change = draw(st.sampled_from([*sorted(CHANGES), *sorted(KINDS)]))
    predicted = CHANGES[change](rng, truth) if change in CHANGES else KINDS[change](rng, shape)
    truth_classes = _classes(rng, truth)
    predicted_classes = truth_classes if draw(st.booleans()) else _classes(rng, predicted)
    ids = st.sampled_from(sorted(NUMBERINGS))
    return _renumbered(truth, rng, draw(ids)), truth_classes, _renumbered(predicted, rng, draw(ids)), predicted_classes


def _touching(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    cells = _cells(rng, shape, int(rng.integers(2, 60)))
    return cells * (rng.random(cells.max() + 1) < 0.7)[cells]


def _nested(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    instances = np.zeros(shape, np.int64)
    for row, column in _places(rng, shape, 4):
        for radius_px in sorted(rng.choice(np.arange(1, 16), 3, replace=False), reverse=True):
            instances[_disc(shape, row, column, radius_px)] = instances.max() + 1
    return instances


def _discs(rng: np.random.Generator, shape: tuple[int, int], places: list[tuple[int, int]], end_px: int) -> np.ndarray:
    """Numbered discs of random radius, 1 to `end_px` - 1, or single pixels if `end_px` is 0."""
    instances = np.zeros(shape, np.int64)
    for label, at in enumerate(places, start=1):
        instances[_disc(shape, *at, rng.integers(1, end_px) if end_px else 0)] = label
    return instances


def _cut_by_border(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    bottom, right = shape[0] - 1, shape[1] - 1
    places = [
        [(0, column), (bottom, column), (row, 0), (row, right)][number % 4]
        for number, (row, column) in enumerate(_places(rng, shape, 12), start=1)
    ]
    return _discs(rng, shape, places, 9)


def _cells(rng: np.random.Generator, shape: tuple[int, int], n: int) -> np.ndarray:
    """Give each pixel to the nearest of n places: a full tile of exactly n nuclei that touch."""
    places = np.array(_places(rng, shape, n))
    pixels = np.argwhere(np.ones(shape, bool))
    nearest = ((pixels[:, None] - places[None]) ** 2).sum(axis=2).argmin(axis=1)
    return nearest.reshape(shape) + 1


def _places(rng: np.random.Generator, shape: tuple[int, int], n: int) -> list[tuple[int, int]]:
    flat = rng.choice(shape[0] * shape[1], n, replace=False)
    return [divmod(int(at), shape[1]) for at in flat]


def _disc(shape: tuple[int, int], row: int, column: int, radius_px: int) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius_px**2


KINDS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "nothing": lambda _, shape: np.zeros(shape, np.int64),
    "full": lambda _, shape: np.ones(shape, np.int64),
    "full_of_several": lambda rng, shape: _cells(rng, shape, int(rng.integers(2, 12))),
    "crowded": lambda rng, shape: _cells(rng, shape, CROWD),
    "touching": _touching,
    "nested": _nested,
    "cut_by_border": _cut_by_border,
    "single_pixels": lambda rng, shape: _discs(rng, shape, _places(rng, shape, 40), 0),
    "scattered": lambda rng, shape: _discs(rng, shape, _places(rng, shape, 20), 8),
}


def _shifted(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    return np.roll(truth, tuple(rng.integers(-2, 3, 2)), axis=(0, 1))


def _eroded(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    eroded = truth.copy()
    eroded[:, :-1][truth[:, :-1] != truth[:, 1:]] = 0
    eroded[:-1][truth[:-1] != truth[1:]] = 0
    return eroded


def _split(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    right = np.arange(truth.shape[1]) >= rng.integers(truth.shape[1])
    return truth + truth.max() * (right & (truth > 0))


CHANGES: dict[str, Callable[[np.random.Generator, np.ndarray], np.ndarray]] = {
    "same": lambda _, truth: truth,
    "shifted": _shifted,
    "eroded": _eroded,
    "merged": lambda _, truth: (truth + 1) // 2,
    "split": _split,
    "some_lost": lambda rng, truth: truth * (rng.random(truth.max() + 1) < 0.5)[truth],
}

NUMBERINGS: dict[str, tuple[int, type]] = {
    "with_gaps": (4 * CROWD, np.int32),
    "16_bit": (2**16 - 1, np.uint16),
    "32_bit": (2**32 - 1, np.uint32),
    "64_bit": (2**40, np.int64),
}
"""Largest id and type; the largest id is always used."""


def _renumbered(instances: np.ndarray, rng: np.random.Generator, numbering: str) -> np.ndarray:
    largest, dtype = NUMBERINGS[numbering]
    n = int(instances.max())
    ids = rng.choice(min(largest, 2**16) - 1, n, replace=False) + 1 if n else np.zeros(0, np.int64)
    ids[-1:] = largest
    return np.concatenate([[0], ids])[instances].astype(dtype)


def _classes(rng: np.random.Generator, instances: np.ndarray) -> np.ndarray:
    """One class per nucleus, and a random class, background included, in a tenth of the pixels."""
    of_nucleus = rng.integers(0, 6, int(instances.max()) + 1)
    return np.where(rng.random(instances.shape) < 0.1, rng.integers(0, 6, instances.shape), of_nucleus[instances])
