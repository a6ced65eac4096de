"""Training curves of a decoder: every part of the loss and every figure on the validation folds, epoch by epoch."""

from dataclasses import dataclass
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cellvit.report.drawing import as_svg, hide_unused, look

_TRAIN, _VALIDATE, _CHOSEN = "#0072b2", "#d55e00", "#4d4d4d"
"""Blue and vermilion of Okabe and Ito; the chosen epoch is grey. Line styles differ too."""

_COLUMNS: Final = 4
_PANEL_INCHES: Final = (2.75, 1.85)


@dataclass(frozen=True, slots=True)
class Panel:
    """A small chart: columns of the history that belong together."""

    title: str
    train: tuple[str, ...] = ()
    validate: tuple[str, ...] = ()


def _loss(name: str, title: str) -> Panel:
    return Panel(title, (f"train_{name}",), (f"validate_{name}",))


PANELS: Final = (
    _loss("total", "Loss, total"),
    _loss("np", "Loss NP (cross-entropy + Dice)"),
    _loss("hv", "Loss HV (sum of its parts)"),
    _loss("nt", "Loss NT (cross-entropy)"),
    _loss("hv_l1", "HV part: regression (hv_l1)"),
    _loss("hv_gradient", "HV part: gradient"),
    _loss("hv_magnitude", "HV part: magnitude"),
    Panel("Learning rate", ("rate",)),
    Panel("NP Dice", ("train_np_dice",), ("validate_np_dice",)),
    Panel("HV MSE", ("train_hv_mse",), ("validate_hv_mse",)),
    Panel("HV skill (0: HV of zero)", ("train_hv_skill",), ("validate_hv_skill",)),
    Panel("HV magnitude on nuclei", ("train_hv_magnitude_mean",), ("validate_hv_magnitude_mean",)),
    Panel("NT accuracy on nuclei", ("train_nt_accuracy",), ("validate_nt_accuracy",)),
    Panel("bPQ (chooses the epoch)", ("train_bpq",), ("validate_bpq",)),
    Panel("Weight of NP in the total", ("train_weight_np",)),
    Panel("Weight of HV in the total", ("train_weight_hv",)),
    Panel("Weight of NT in the total", ("train_weight_nt",)),
)
"""Panels by the columns of history.csv; one whose columns are not there is left out."""


def training_curves(history: pd.DataFrame) -> str:
    """SVG of the panels that the history has something for, the chosen epoch marked in each."""
    panels = [panel for panel in PANELS if _says_something(panel, history)]
    rows = -(-len(panels) // _COLUMNS)
    width, height = _PANEL_INCHES
    with look():
        canvas = Canvas(figsize=(_COLUMNS * width, rows * height + 0.4), layout="constrained")
        axes = list(canvas.subplots(rows, _COLUMNS, squeeze=False).flat)
        for axis, panel in zip(axes, panels, strict=False):
            _draw(axis, panel, history)
        hide_unused(axes, len(panels))
        canvas.supxlabel("epoch", fontsize=9)
        canvas.legend(handles=_legend(), loc="outside upper left", ncols=3, frameon=False)
        return as_svg(canvas)


def chosen_epoch(history: pd.DataFrame) -> int | None:
    """Epoch whose weights were kept."""
    kept = history.loc[history["chosen"].astype(bool), "epoch"]
    return int(kept.iloc[0]) if len(kept) else None


def _says_something(panel: Panel, history: pd.DataFrame) -> bool:
    """False where no column is there, and for weights that stay as the settings give them."""
    names = [name for name in (*panel.train, *panel.validate) if name in history]
    return any(history[name].nunique() > 1 or "_weight_" not in name for name in names)


def _draw(axis: Axes, panel: Panel, history: pd.DataFrame) -> None:
    axis.set_title(panel.title)
    for names, colour, style in ((panel.train, _TRAIN, "-"), (panel.validate, _VALIDATE, "--")):
        for name in names:
            if name in history:
                _line(axis, history[["epoch", name]].dropna(), colour, style)
    epoch = chosen_epoch(history)
    if epoch is not None:
        axis.axvline(epoch, color=_CHOSEN, linewidth=1, linestyle=":")
    axis.set_xlim(float(history["epoch"].min()) - 0.5, float(history["epoch"].max()) + 0.5)
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axis.yaxis.set_major_locator(MaxNLocator(4))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.margins(y=0.12)


def _line(axis: Axes, points: pd.DataFrame, colour: str, style: str) -> None:
    sparse = len(points) < 15  # few points: a line alone would hide which epochs were measured
    axis.plot(
        points.iloc[:, 0], points.iloc[:, 1], color=colour, linestyle=style, marker="o" if sparse else "", markersize=3
    )


def _legend() -> list[Line2D]:
    return [
        Line2D([], [], color=_TRAIN, label="training folds"),
        Line2D([], [], color=_VALIDATE, linestyle="--", label="validation folds"),
        Line2D([], [], color=_CHOSEN, linestyle=":", linewidth=1, label="chosen epoch"),
    ]
