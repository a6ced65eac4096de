"""Published values on PanNuke beside those of this run, where the data, the splits and the protocol are the same."""

from typing import Final, NamedTuple

from cellvit.formats.dataset import PANNUKE
from cellvit.formats.evaluations import ORGAN_GIVEN, ORGAN_PREDICTED
from cellvit.formats.summary import MEAN_SPLIT
from cellvit.report.cells import Cell, Row, Table, number_cell, range_cell
from cellvit.report.data import ReportData
from cellvit.report.wording import family_label
from cellvit.taxonomy import ONE_DECODER, SHARED_FAMILY

_TILES: Final = {1: 2656, 2: 2523, 3: 2722}
"""Tiles of PanNuke's folds: data of the same classes in the same layout that have other numbers are not PanNuke."""

_SPLITS: Final = (
    {"train": (1,), "validate": (2,), "test": (3,)},
    {"train": (2,), "validate": (1,), "test": (3,)},
    {"train": (3,), "validate": (2,), "test": (1,)},
)
"""Official splits."""


class Published(NamedTuple):
    """Values of a paper: means over the three official splits, over the tiles of each organ and then over organs."""

    model: str
    mpq: float
    bpq: float
    encoder: str
    source: str


_SECOND_HAND: Final = "second-hand, not checked"

PUBLISHED: Final = (
    Published("HoVer-Net", 0.463, 0.660, "trained", "Gamper et al. 2020, arXiv 2003.10778"),
    Published("StarDist (ResNet-50)", 0.480, 0.669, "trained", "CPP-Net paper, 2023"),
    Published("CPP-Net", 0.482, 0.677, "trained", "CPP-Net paper, 2023"),
    Published("CellViT-256", 0.485, 0.670, "trained", "CellViT paper"),
    Published("CellViT-SAM-H", 0.498, 0.679, "trained, 700 M parameters", "CellViT paper"),
    Published("LKCell-L", 0.508, 0.685, "trained", "LKCell paper"),
    Published("CellViT++ with UNI", 0.492, 0.664, "frozen", _SECOND_HAND),
    Published("CellViT++ with Virchow2", 0.493, 0.665, "frozen", _SECOND_HAND),
    Published("CellVTA: UNI with a CNN adapter", 0.506, 0.668, "adapter", _SECOND_HAND),
    Published("CFR-SAM-H", 0.511, 0.696, "adapters", _SECOND_HAND),
    Published("PromptNucSeg-H", 0.512, 0.692, "trained", _SECOND_HAND),
)

_OURS: Final = (ONE_DECODER, SHARED_FAMILY, ORGAN_GIVEN, ORGAN_PREDICTED)
"""Families of summary.csv whose values are over all test tiles."""


def published_table(data: ReportData) -> Table:
    """Values of this run, then published ones; no rows unless the data are PanNuke's and the splits official."""
    caption, columns = "mPQ and bPQ on PanNuke", ("mPQ", "bPQ", "Encoder", "Source")
    if not _is_pannuke(data):
        return Table(caption, "Model", columns, ())
    splits = {split for split, _ in data.summary}
    split = MEAN_SPLIT if MEAN_SPLIT in splits else min(splits, default="")
    encoder = f"{data.settings.encoder.preset}, frozen"
    ours: list[Row] = []
    for family in _OURS:
        rows = data.summary.get((split, family), {})
        if "mpq" in rows and "bpq" in rows:
            values = (range_cell(rows["mpq"]), range_cell(rows["bpq"]))
            ours.append(
                Row(family_label(family), (*values, Cell(encoder), Cell("this run")), group="" if ours else "This run")
            )
    n = len(data.settings.splits)
    same = (
        "as in this run" if n == len(_SPLITS) else f"this run has {n} of the 3 splits, so that the comparison is rough"
    )
    note = (
        "Protocol of all values: PanNuke's (Gamper et al. 2020), tiles of each organ, then organs. Published values are means "
        f"over the three official splits; {same}. Papers differ in details of the protocol and in how they choose the step. "
        "The spread between seeds is about 0.002 mPQ."
    )
    return (
        Table(caption, "Model", columns, (*ours, *_published()), note, "results published")
        if ours
        else Table(caption, "", (), ())
    )


def _published() -> tuple[Row, ...]:
    rows = []
    for place, one in enumerate(PUBLISHED):
        cells = (number_cell(f"{one.mpq:.3f}"), number_cell(f"{one.bpq:.3f}"), Cell(one.encoder), Cell(one.source))
        rows.append(Row(one.model, cells, group="" if place else "Published"))
    return tuple(rows)


def _is_pannuke(data: ReportData) -> bool:
    official = all(dict(split.roles) in _SPLITS for split in data.settings.splits.values())
    folds = {one.fold: one.n_tiles for one in data.fold_summaries}
    whole = folds == _TILES and not data.left_out
    return data.dataset == PANNUKE and not any("simulated" in mark for mark in data.marks) and official and whole
