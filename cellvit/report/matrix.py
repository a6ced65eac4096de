"""Organ by metric as one matrix: the values of the decoder on the test tiles of each organ."""

from collections.abc import Sequence
from typing import Final

from cellvit.formats.documents import Value
from cellvit.formats.evaluations import FamilyEvaluation
from cellvit.report.cells import Cell, Row, Table, count_cell, value_cell
from cellvit.report.results import small_print
from cellvit.report.wording import family_label, metric_of

_METRICS: Final = ("aji", "bpq", "mpq", "dice", "detection_f1")
"""Metrics of all nuclei; the PQ of each class follows."""

_NOT_THERE: Final = "no test tile of the organ defines the value, as the PQ of a class of which it has no true nucleus"


def organ_matrix(evaluations: Sequence[FamilyEvaluation], split: str) -> Table:
    """Organs (rows, by family) by metrics (columns); the shared decoder is left out. No rows where no organ is known."""
    evaluated = [one for one in evaluations if one.status == "evaluated" and one.organs]
    caption = f"Organ by metric, split {split}"
    if not evaluated:
        return Table(caption, "Organ", (), ())
    data_set = evaluated[0].dataset
    of_classes = {f"pq_{key}": name for key, name in zip(data_set.class_keys, data_set.class_names[1:], strict=True)}
    names = (*_METRICS, *of_classes)
    rows = []
    for one in evaluated:
        group = family_label(one.family) if len(evaluated) > 1 else ""
        for organ, systems in one.organs.items():
            values = systems.get("decoder", {})
            n_tiles = max((value.n for value in values.values()), default=0)
            cells = (count_cell(n_tiles), *(_cell(values.get(name)) for name in names))
            rows.append(Row(organ.replace("_", " "), cells, group=group))
            group = ""
    columns = ("Tiles", *(metric_of(name).label for name in _METRICS), *(f"PQ {name}" for name in of_classes.values()))
    note = (
        f"Organ given; a darker cell is a higher value. {small_print(*evaluated)} A dot: "
        f"{_NOT_THERE}. The same values beside every baseline are in the tables by organ further below."
    )
    return Table(caption, "Organ", columns, tuple(rows), note, "results matrix")


def _cell(value: Value | None) -> Cell:
    cell = value_cell(value)
    if cell.kind == "undefined":
        return cell._replace(text="·", hint=_NOT_THERE)
    return cell._replace(kind=f"{cell.kind} shaded", shade=round(max(value.value, 0), 3)) if value else cell
