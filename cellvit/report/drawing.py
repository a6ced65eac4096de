"""What every chart shares: one look, and SVG whose bytes depend on the data alone."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

INK: Final = "#1a1a1a"
"""Text of the page."""

_LOOK: Final = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same glyphs on every machine
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#767676",
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "axes.labelcolor": INK,
    "lines.linewidth": 1.5,
    "svg.hashsalt": "cellvit",
    "svg.fonttype": "path",
}


@contextmanager
def look() -> Iterator[None]:
    """Draw with the page's look inside the block; nothing outside it changes."""
    with mpl.rc_context(_LOOK):
        yield


def as_svg(canvas: Canvas) -> str:
    """The chart as SVG without date, without metadata and without reference to any other file."""
    buffer = io.StringIO()
    canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _compact(buffer.getvalue())


def hide_unused(axes: list[Axes], n_used: int) -> None:
    """Clear the panels of a grid that hold nothing."""
    for axis in axes[n_used:]:
        axis.set_axis_off()


def _compact(svg: str) -> str:
    """The same picture in half the bytes: no declaration, comments and indents, hundredths of a point."""
    body = re.sub(r"<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r"\s*\n\s*", " ", body).replace("> <", "><")
    return re.sub(r"(?<![\d.])([1-9]\d*\.\d\d)\d+", r"\1", body)
