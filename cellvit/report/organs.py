"""Tables of OrganHead: figures and the confusion of organs."""

from collections.abc import Sequence

import numpy as np

from cellvit.report.cells import Cell, Row, Table, count_cell


def confusion_table(organs: Sequence[str], counts: Sequence[Sequence[int]], caption: str) -> Table:
    """Tiles by true organ (rows) and predicted organ (columns), shaded by their share of the row.

    Organs without a tile on either side are left out and named below the table.
    """
    table = np.array(counts, np.int64).reshape(len(organs), len(organs))
    used = [place for place in range(len(organs)) if table[place].any() or table[:, place].any()]
    rows = []
    for true in used:
        total = int(table[true].sum())
        cells = tuple(_confusion_cell(int(table[true, found]), total, right=true == found) for found in used)
        rows.append(Row(_spaced(organs[true]), (*cells, count_cell(total))))
    unused = ", ".join(_spaced(organ) for place, organ in enumerate(organs) if place not in used)
    note = "Rows: true organ; columns: predicted organ. Each cell: tiles, and their share of the row, which also shades it."
    return Table(
        caption,
        "True organ",
        (*(_spaced(organs[place]) for place in used), "Tiles"),
        tuple(rows),
        note=note + (f" Without test tiles and never predicted: {unused}." if unused else ""),
        kind="confusion",
    )


def _confusion_cell(count: int, total: int, *, right: bool) -> Cell:
    if not total:
        return Cell("–", kind="undefined", hint="no test tile of this organ: its shares are undefined")
    if not count:
        return Cell("·", kind="zero", hint="0 tiles")
    share = count / total
    return Cell(f"{count:,}", interval=f"{share:.0%}", kind="right" if right else "wrong", shade=round(share, 3))


def _spaced(organ: str) -> str:
    return organ.replace("_", " ")
