"""Nuclei by class on all test tiles of a split: confusion with the unmatched ones, and counts predicted against true."""

from collections.abc import Iterable, Iterator
from functools import reduce
from operator import add
from typing import Final

import matplotlib as mpl
import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cellvit.evaluation.annotated import counts_by_tile, scored
from cellvit.evaluation.values import class_confusion, segmentation_values
from cellvit.formats.dataset import DataSet
from cellvit.formats.documents import Value
from cellvit.formats.tile_table import TileScores
from cellvit.report.cells import Row, Table, count_cell, value_cell
from cellvit.report.charts import LOOK, as_svg
from cellvit.report.confusion import class_confusion_table
from cellvit.report.data import Decoder
from cellvit.report.wording import interval_label, metric_of

EXPLANATION: Final = (
    "Every test tile of the split, organ given, by the decoder of its family where there are families. A pathologist counts nuclei by "
    "class: the bias says how many the decoder adds or misses in a tile on average, the limits of agreement how far a "
    "single tile is off, and the concordance whether tiles with more nuclei are also predicted to have more."
)

_AGREEMENT: Final = ("count_bias", "count_limit", "count_concordance")
_COLUMNS: Final = 3
_INCHES: Final = (2.9, 2.75)
_DPI: Final = 160
_POINT: Final = "#0072b2"
_LINE: Final = "#4d4d4d"


def scores_of_split(decoders: Iterable[Decoder], split: str) -> TileScores | None:
    """Scores of all test tiles of a split, each by the decoder of its family; None if nothing was evaluated."""
    found = [
        one.scores for one in decoders if one.header.split == split and not one.is_shared and one.scores is not None
    ]
    tiles = scored(reduce(add, found)) if found else None
    return tiles if tiles is not None and len(tiles) else None


def confusion_of(tiles: TileScores, data_set: DataSet, split: str) -> Table:
    """Nuclei by true and predicted class, with the missed and the false ones."""
    return class_confusion_table(class_confusion(tiles), data_set, f"Confusion of nuclear classes, split {split}")


def count_table(tiles: TileScores, data_set: DataSet, split: str) -> Table:
    """True and predicted nuclei with bias, limits of agreement and concordance, of all nuclei and by class."""
    rows = []
    for name, key in _kinds(data_set):
        true, predicted = counts_by_tile(tiles, key)
        names = [f"{metric}_{key}" if key else metric for metric in _AGREEMENT]
        values = segmentation_values(tiles, names).values()
        cells = (count_cell(int(true.sum())), count_cell(int(predicted.sum())), *map(value_cell, values))
        rows.append(Row(name, cells))
    columns = ("True nuclei", "Predicted nuclei", *(metric_of(name).label for name in _AGREEMENT))
    units = interval_label(tiles.n_patients, tiles.n_tiles_without_patient)
    note = f"Bias, limits and concordance are over tiles; a tile has nuclei of few classes. Small print: {units}, and the tiles (n)."
    return Table(f"Counts of nuclei by tile, split {split}", "Class", columns, tuple(rows), note)


def count_chart(tiles: TileScores, data_set: DataSet) -> str:
    """SVG with predicted against true nuclei of each tile, of all nuclei and by class; the diagonal is perfect.

    The points are a picture in the SVG, so that it stays small with thousands of tiles.
    """
    kinds = list(_kinds(data_set))
    n_rows = -(-len(kinds) // _COLUMNS)
    width, height = _INCHES
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(_COLUMNS * width, n_rows * height), layout="constrained", dpi=_DPI)
        axes = list(figure.subplots(n_rows, _COLUMNS, squeeze=False).flat)
        for axis, (name, key) in zip(axes, kinds, strict=False):
            axis.set_title(name)
            bias = next(iter(segmentation_values(tiles, [f"count_bias_{key}" if key else "count_bias"]).values()))
            _draw_counts(axis, *counts_by_tile(tiles, key), bias)
        for axis in axes[len(kinds) :]:
            axis.set_axis_off()
        figure.supxlabel("true nuclei of a tile", fontsize=9)
        figure.supylabel("predicted nuclei of a tile", fontsize=9)
        return as_svg(figure)


def _kinds(data_set: DataSet) -> Iterator[tuple[str, str]]:
    """Names of all nuclei and of the classes, with the keys of their columns."""
    yield "All nuclei", ""
    yield from zip(data_set.class_names[1:], data_set.class_keys, strict=True)


def _draw_counts(
    axis: Axes, true: Float64[np.ndarray, " n"], predicted: Float64[np.ndarray, " n"], bias: Value
) -> None:
    most = max(float(max(true.max(), predicted.max())), 1.0) * 1.06
    pairs, n_tiles = np.unique(np.stack([true, predicted]), axis=1, return_counts=True)
    axis.plot([0, most], [0, most], color=_LINE, linewidth=1, linestyle=":")
    axis.scatter(
        pairs[0], pairs[1], s=9 * np.sqrt(n_tiles), color=_POINT, alpha=0.55, linewidths=0, zorder=3, rasterized=True
    )
    axis.text(0.04, 0.97, f"bias {bias.value:+.1f} nuclei a tile", transform=axis.transAxes, va="top", fontsize=8.5)
    axis.set(xlim=(-0.03 * most, most), ylim=(-0.03 * most, most), aspect="equal")
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(MaxNLocator(4, integer=True))
