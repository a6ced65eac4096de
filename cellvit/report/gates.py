"""Table of the graded gates: figure, limit, grade and, for what did not pass, what to try next."""

from types import MappingProxyType
from typing import Final

import pandas as pd

from cellvit.config.judging import Gate, QualityGates
from cellvit.contracts.documents import Figure
from cellvit.report.cells import Cell, Row, Table, figure_cell
from cellvit.report.wording import GRADES, family_label, metric_of

_GATE_OF: Final = MappingProxyType({"accuracy": "organ_accuracy"})
"""Gates whose name is not that of the metric."""

ADVICE: Final = MappingProxyType(
    {
        "organ_accuracy": "check the CLS tokens (feature checks below) and the organs' tile counts; "
        "train OrganHead longer (organ_head.epochs)",
        "hv_magnitude": "raise the weight of the magnitude term (training.loss.hv_magnitude)",
        "aji": "widen the grid of the watershed (watershed.*) where the magnitude is good; "
        "else look at the HV magnitude first",
        "hv_mse": "train longer (training.epochs) or raise the weight of HV (training.loss.hv)",
        "hv_skill": "the HV branch is no better than zero: keep the image stem (decoder.image_stem: rgb), train longer",
        "np_dice": "lower the weight of the magnitude term (training.loss.hv_magnitude) or raise that of NP "
        "(training.loss.np)",
        "gap_np_dice": "the decoder fits its training tiles: raise decoder.dropout, keep training.augment",
        "gap_hv_mse": "the decoder fits its training tiles: raise decoder.dropout, keep training.augment",
        "gap_nt_accuracy": "the decoder fits its training tiles: raise decoder.dropout, keep training.augment",
    }
)
"""What to try next, by gate."""


def gate_table(summary: pd.DataFrame, gates: QualityGates) -> Table:
    """Every graded row of the summary, the worst grades first, in the summary's order within a grade."""
    graded = summary[summary["gate"].isin(GRADES)]
    order = graded["gate"].map(GRADES.index).sort_values(ascending=False, kind="stable").index
    rows = tuple(_gate_row(row, gates) for row in graded.loc[order].to_dict("records"))
    return Table(
        "Graded gates",
        "Family and metric",
        ("Split", "Test tiles", "Limit", "Grade", "What to try next"),
        rows,
        note="Limits are settings (gates.quality). A gate says whether a figure is plausible; whether it is worth "
        "anything, its baseline says.",
        kind="results gates",
    )


def gate_counts(summary: pd.DataFrame) -> dict[str, int]:
    """Number of gates by grade, best grade first."""
    return {grade: int((summary["gate"] == grade).sum()) for grade in GRADES}


def _gate_row(row: dict[str, object], gates: QualityGates) -> Row:
    name, grade = str(row["metric"]), str(row["gate"])
    name = _GATE_OF.get(name, name)
    figure = Figure.model_validate({key: row[key] for key in ("value", "low", "high", "n")})
    label = " · ".join(part for part in (family_label(str(row["family"])), metric_of(name).label) if part)
    advice = "" if grade == "pass" else ADVICE.get(name, "")
    cells = (
        Cell(str(row["split"])),
        figure_cell(figure),
        Cell(_limit(name, gates)),
        Cell(grade, kind=grade),
        Cell(advice, kind="prose"),
    )
    return Row(label, cells)


def _limit(name: str, gates: QualityGates) -> str:
    """Limits of a gate in words."""
    if name not in QualityGates.model_fields:
        return ""
    gate: Gate = getattr(gates, name)
    side = "under" if name == "hv_mse" or name.startswith("gap_") else "over"
    middle = "" if gate.partial is None else f", partial {side} {gate.partial:g}"
    return f"{side} {gate.passes:g}{middle}"
