"""Confusion tables: tiles by true and predicted organ, nuclei by true and predicted class."""

from collections.abc import Sequence

import numpy as np

from cellvit.formats.dataset import DataSet
from cellvit.report.cells import Cell, Row, Table, count_cell


def confusion_table(organs: Sequence[str], counts: Sequence[Sequence[int]], caption: str) -> Table:
    """Tiles by true organ (rows) and predicted organ; organs without a tile on either side are named below the table."""
    table = np.array(counts, np.int64).reshape(len(organs), len(organs))
    names = [organ.replace("_", " ") for organ in organs]
    used = [place for place in range(len(organs)) if table[place].any() or table[:, place].any()]
    rows = []
    for true in used:
        total = int(table[true].sum())
        cells = (_confusion_cell(int(table[true, other]), total, right=true == other) for other in used)
        rows.append(Row(names[true], (*cells, count_cell(total))))
    unused = ", ".join(name for place, name in enumerate(names) if place not in used)
    note = "Rows: true organ; columns: predicted organ. Each cell: tiles, and their share of the row, which also shades it."
    note += f" Without test tiles and never predicted: {unused}." if unused else ""
    return Table(caption, "True organ", (*(names[place] for place in used), "Tiles"), tuple(rows), note, "confusion")


def class_confusion_table(counts: Sequence[Sequence[int]], data_set: DataSet, caption: str) -> Table:
    """Nuclei by true and predicted class, with the missed and the false ones; classes that are on neither side are left out."""
    names = ("Without class", *data_set.class_names[1:])
    side = len(names) + 1
    table = np.array(counts, np.int64).reshape(-1, side) if counts else None
    if table is None or not table.any():
        return Table(caption, "True class", (), ())
    used = [*np.flatnonzero((table.sum(axis=1) + table.sum(axis=0))[1:-1]) + 1]
    used = [0, *used] if table[0].any() or table[:, 0].any() else used
    rows = []
    for true in (*used, side - 1):
        total = int(table[true].sum())
        cells = (_confusion_cell(int(table[true, other]), total, right=true == other) for other in (*used, side - 1))
        rows.append(Row(names[true] if true < side - 1 else "False nucleus", (*cells, count_cell(total))))
    note = (
        "Rows: true class; columns: predicted class. Nuclei are paired by their centroids within 3 µm, with the "
        "distances beyond the radius excluded first. Each cell: nuclei, and their share of the row, which also shades it."
    )
    columns = (*(names[place] for place in used), "Missed", "Nuclei")
    return Table(caption, "True class", columns, tuple(rows), note, "confusion")


def _confusion_cell(count: int, total: int, *, right: bool) -> Cell:
    if not total:
        return Cell("–", kind="undefined", hint="nothing in this row: its shares are undefined")
    if not count:
        return Cell("·", kind="zero", hint="0")
    share = count / total
    return Cell(f"{count:,}", interval=f"{share:.0%}", kind="right" if right else "wrong", shade=round(share, 3))
