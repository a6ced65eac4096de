"""The first look: each family's decoder beside classical baseline, pooled decoder and oracle."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from cellvit.formats.documents import Value, Values
from cellvit.report.drawing import as_svg, look
from cellvit.report.wording import metric_of, system_label

HEADLINE: Final = ("aji", "bpq", "mpq")
"""What a reader asks for first."""

_MARKERS: Final = MappingProxyType(
    {
        "decoder": ("o", "#0072b2"),
        "pooled": ("D", "#e69f00"),
        "classical": ("s", "#d55e00"),
        "oracle": ("|", "#4d4d4d"),
    }
)
"""Shape and colour of each system: Okabe and Ito's palette, shapes for those who see no colours."""

_ROW_INCHES: Final = 0.62
_WIDTH_INCHES: Final = 11.0
_STEP: Final = 0.17
"""Distance between the systems of a family, in rows."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the chart."""

    label: str
    systems: dict[str, Values]


def comparison_chart(entries: Sequence[Entry]) -> str:
    """SVG with a panel for each headline metric, 0 to 1, and intervals as bars."""
    with look():
        canvas = Canvas(figsize=(_WIDTH_INCHES, _ROW_INCHES * len(entries) + 1.1), layout="constrained")
        axes = canvas.subplots(1, len(HEADLINE), sharey=True)
        for axis, metric in zip(axes, HEADLINE, strict=True):
            _draw(axis, metric, entries)
        axes[0].set_yticks(range(len(entries)), [entry.label for entry in entries])
        axes[0].set_ylim(len(entries) - 0.5, -0.5)
        canvas.legend(handles=_legend(), loc="outside upper left", ncols=len(_MARKERS), frameon=False)
        return as_svg(canvas)


def _draw(axis: Axes, metric: str, entries: Sequence[Entry]) -> None:
    axis.set_title(metric_of(metric).label)
    axis.set_xlim(0, 1)
    axis.tick_params(left=False)
    for row, entry in enumerate(entries):
        for place, system in enumerate(_MARKERS):
            figure = entry.systems.get(system, {}).get(metric)
            if figure is not None and not math.isnan(figure.value):
                _point(axis, figure, row + (place - 1.5) * _STEP, system)


def _point(axis: Axes, figure: Value, y: float, system: str) -> None:
    marker, colour = _MARKERS[system]
    if not math.isnan(figure.low):
        axis.plot([figure.low, figure.high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
    axis.plot(figure.value, y, marker=marker, color=colour, markersize=9 if marker == "|" else 5.5, markeredgewidth=1.6)


def _legend() -> list[Line2D]:
    return [
        Line2D([], [], marker=marker, color=colour, linestyle="", label=system_label(system))
        for system, (marker, colour) in _MARKERS.items()
    ]
