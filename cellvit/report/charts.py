"""Charts of the page as SVG: the comparison of systems, training curves, and reliability of class probabilities."""

import io
import math
import re
from collections.abc import Mapping
from typing import Final

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cellvit.formats.calibration import DecoderCalibration, Reliability
from cellvit.formats.documents import Values
from cellvit.report.wording import metric_of, system_label

HEADLINE: Final = ("aji", "bpq", "mpq")
"""Metrics that a reader asks for first."""

_INK: Final = "#1a1a1a"
"""Colour of the text of the page."""

LOOK: Final = {
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
    "xtick.color": _INK,
    "ytick.color": _INK,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "lines.linewidth": 1.5,
    "svg.hashsalt": "cellvit",
    "svg.fonttype": "path",
}
"""Settings of matplotlib for every chart of the page."""

_MARKERS: Final = {
    "decoder": ("o", "#0072b2"),
    "shared": ("D", "#e69f00"),
    "classical": ("s", "#d55e00"),
    "upper_bound": ("|", "#4d4d4d"),
}
"""Shape and colour of each system: the palette of Okabe and Ito, and shapes for readers who do not see colours."""

_ROW_INCHES: Final = 0.62
_WIDTH_INCHES: Final = 11.0
_STEP: Final = 0.17
"""Distance between the systems of a family, in rows."""

_TRAIN, _VALIDATE, _SELECTED = "#0072b2", "#d55e00", "#4d4d4d"
"""Blue and vermilion of Okabe and Ito, grey for the selected step. The line styles differ too."""

_BEFORE, _AFTER = "#e69f00", "#0072b2"
"""Orange and blue of Okabe and Ito: reliability before and after the temperature. The markers differ too."""

_RELIABILITY_COLUMNS: Final = 5
_RELIABILITY_INCHES: Final = (2.2, 2.2)
_LEAST_IN_BIN: Final = 10
"""Nuclei of a bin that is drawn: the accuracy of fewer is noise, with a standard deviation above 0.15."""

_COLUMNS: Final = 4
_PANEL_INCHES: Final = (2.75, 1.85)
_SPARSE: Final = 15
"""Below so many points, a line alone would hide the steps at which a value was measured."""


PANELS: Final = {
    "Loss, total": "total",
    "Loss NP (cross-entropy + Dice)": "np",
    "Loss HV (sum of its parts)": "hv",
    "Loss NT (cross-entropy)": "nt",
    "HV part: regression (hv_l1)": "hv_l1",
    "HV part: gradient": "hv_gradient",
    "HV part: magnitude": "hv_magnitude",
    "Learning rate": "rate",
    "Gradients clipped, share of steps": "clipped",
    "NP Dice": "np_dice",
    "HV MSE": "hv_mse",
    "HV skill (0: HV of zero)": "hv_skill",
    "HV angle error on nuclei, degrees": "hv_angle",
    "HV length on nuclei": "hv_length",
    "NT accuracy on nuclei": "nt_accuracy",
    "bPQ (selects the step)": "bpq",
    "mPQ (selects the step)": "mpq",
    "AJI (selects the step)": "aji",
    "Weight of NP in the total": "train_weight_np",
    "Weight of HV in the total": "train_weight_hv",
    "Weight of NT in the total": "train_weight_nt",
}
"""Panels of the training curves: a column of the history, or its name without ``train_`` and ``validate_``."""


def comparison_chart(rows: Mapping[str, Mapping[str, Values]]) -> str:
    """SVG with a panel for each headline metric, 0 to 1, intervals as bars.

    Args:
        rows: Values by system, by the label of the row.
    """
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(_WIDTH_INCHES, _ROW_INCHES * len(rows) + 1.1), layout="constrained")
        axes = figure.subplots(1, len(HEADLINE), sharey=True)
        for axis, metric in zip(axes, HEADLINE, strict=True):
            axis.set_title(metric_of(metric).label)
            axis.set_xlim(0, 1)
            axis.tick_params(left=False)
            for row, systems in enumerate(rows.values()):
                _draw_systems(axis, metric, row, systems)
        labels = [re.sub(r"(,) | (\()", r"\1\n\2", label) for label in rows]
        axes[0].set_yticks(range(len(rows)), labels)
        axes[0].set_ylim(len(rows) - 0.5, -0.5)
        legend = [
            Line2D([], [], marker=marker, color=colour, linestyle="", label=system_label(system))
            for system, (marker, colour) in _MARKERS.items()
            if any(systems.get(system) for systems in rows.values())
        ]
        figure.legend(handles=legend, loc="outside upper left", ncols=len(_MARKERS), frameon=False)
        return as_svg(figure)


def training_curves(history: pd.DataFrame, *, selected: int) -> str:
    """SVG of every panel that the history has values for, with a line at the selected step."""
    panels = [title for title, name in PANELS.items() if _has_values(name, history)]
    n_rows = -(-len(panels) // _COLUMNS)
    width, height = _PANEL_INCHES
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(_COLUMNS * width, n_rows * height + 0.4), layout="constrained")
        axes = list(figure.subplots(n_rows, _COLUMNS, squeeze=False).flat)
        for axis, title in zip(axes, panels, strict=False):
            axis.set_title(title)
            _draw_panel(axis, PANELS[title], history, selected)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        figure.supxlabel("step", fontsize=9)
        legend = [
            Line2D([], [], color=_TRAIN, label="training folds"),
            Line2D([], [], color=_VALIDATE, linestyle="--", label="validation folds"),
            Line2D([], [], color=_SELECTED, linestyle=":", linewidth=1, label="selected step"),
        ]
        figure.legend(handles=legend, loc="outside upper left", ncols=3, frameon=False)
        return as_svg(figure)


def reliability_charts(panels: Mapping[str, DecoderCalibration]) -> str:
    """SVG with a small reliability diagram for each decoder, by its label: the diagonal is perfect."""
    n_rows = -(-len(panels) // _RELIABILITY_COLUMNS)
    n_columns = min(len(panels), _RELIABILITY_COLUMNS)
    width, height = _RELIABILITY_INCHES
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(n_columns * width, n_rows * height + 0.6), layout="constrained")
        axes = list(figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True).flat)
        for axis, (label, calibration) in zip(axes, panels.items(), strict=False):
            axis.set_title(label.replace(" (", "\n("))
            axis.plot([0, 1], [0, 1], color=_SELECTED, linewidth=1, linestyle=":")
            _draw_reliability(axis, calibration.before, _BEFORE, "s--")
            _draw_reliability(axis, calibration.after, _AFTER, "o-")
            axis.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        figure.supxlabel("mean probability of the predicted class", fontsize=9)
        figure.supylabel("share of right classes", fontsize=9)
        legend = [
            Line2D([], [], color=_BEFORE, marker="s", markersize=4, linestyle="--", label="as predicted"),
            Line2D([], [], color=_AFTER, marker="o", markersize=4, label="with the temperature"),
        ]
        figure.legend(handles=legend, loc="outside upper left", ncols=2, frameon=False)
        return as_svg(figure)


def as_svg(figure: Figure) -> str:
    """The chart without date, metadata and links; about half the bytes (no comments or indents, .01 point)."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = buffer.getvalue()
    body = re.sub(r"<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r"\s*\n\s*", " ", body).replace("> <", "><")
    return re.sub(r"(?<![\d.])([1-9]\d*\.\d\d)\d+", r"\1", body)


def _draw_reliability(axis: Axes, reliability: Reliability | None, colour: str, style: str) -> None:
    bins = [] if reliability is None else [one for one in reliability.bins if one.n >= _LEAST_IN_BIN]
    means, shares = [one.mean_probability for one in bins], [one.accuracy for one in bins]
    axis.plot(means, shares, style, color=colour, markersize=4)


def _draw_systems(axis: Axes, metric: str, row: int, systems: Mapping[str, Values]) -> None:
    for place, (system, (marker, colour)) in enumerate(_MARKERS.items()):
        value = systems.get(system, {}).get(metric)
        if value is None or math.isnan(value.value):
            continue
        y = row + (place - 1.5) * _STEP
        if not math.isnan(value.low):
            axis.plot([value.low, value.high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
        size = 9 if marker == "|" else 5.5
        axis.plot(value.value, y, marker=marker, color=colour, markersize=size, markeredgewidth=1.6)


def _has_values(name: str, history: pd.DataFrame) -> bool:
    """False without a value in the history, and for weights that stay at their values in the settings."""
    columns = [column for column in (name, f"train_{name}", f"validate_{name}") if column in history]
    return any(history[column].nunique() > ("_weight_" in column) for column in columns)


def _draw_panel(axis: Axes, name: str, history: pd.DataFrame, selected: int) -> None:
    lines = {name: (_TRAIN, "-"), f"train_{name}": (_TRAIN, "-"), f"validate_{name}": (_VALIDATE, "--")}
    for column, (colour, style) in lines.items():
        if column in history:
            points = history[["step", column]].dropna()
            marker = "o" if len(points) < _SPARSE else ""
            axis.plot(points["step"], points[column], color=colour, linestyle=style, marker=marker, markersize=3)
    axis.axvline(selected, color=_SELECTED, linewidth=1, linestyle=":")
    axis.set_xlim(0, 1.02 * float(history["step"].max()))
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axis.yaxis.set_major_locator(MaxNLocator(4))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.margins(y=0.12)
