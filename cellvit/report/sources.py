"""Table of the values by source of the test tiles, and of the gap to sources that did not train the decoder."""

from collections.abc import Iterable, Iterator
from typing import Final

from cellvit.formats.evaluations import FamilyEvaluation, SourceValues
from cellvit.report.cells import Row, Table, count_cell, value_cell
from cellvit.report.wording import counted, decoder_label, metric_of

HEADING: Final = "By source of the tiles"

EXPLANATION: Final = (
    "A source is the laboratory or data set that a tile comes from (sources.npy). The gap is the value over all tiles of "
    "sources that trained the decoder, minus the value over all tiles of sources that did not: far from 0, it says that the "
    "decoder loses quality on tiles of another laboratory, or that these tiles are harder for every decoder, which a split "
    "that trains on all sources tells apart."
)
"""What the gap means, for a reader of the page."""

_METRICS: Final = ("aji", "bpq", "mpq", "detection_f1", "boundary_um", "np_dice", "nt_accuracy")
_TRAINED_ON: Final = {
    "seen": "seen in training",
    "unseen": "not seen in training",
    "unknown": "perhaps seen in training",
}


def source_table(evaluations: Iterable[FamilyEvaluation]) -> Table:
    """Every source of every evaluated decoder with its gap; no rows where no test tile names its source."""
    rows = [row for evaluation in evaluations for row in _rows(evaluation)]
    columns = ("Tiles", *(metric_of(name).label for name in _METRICS))
    note = "Small print: 95 % interval over patients where they are known, else over tiles. Gap: seen minus not seen."
    return Table(HEADING, "Decoder and source", columns, tuple(rows), note, "results")


def _rows(evaluation: FamilyEvaluation) -> Iterator[Row]:
    of_decoder = evaluation.sources.get("decoder")
    if of_decoder is None:
        return
    group, note = decoder_label(evaluation.split, evaluation.family), _left_out(evaluation, of_decoder)
    for source, values in of_decoder.values.items():
        cells = (count_cell(of_decoder.n_tiles[source]), *(value_cell(values.get(name)) for name in _METRICS))
        yield Row(
            source, cells, note="; ".join(filter(None, (_TRAINED_ON[of_decoder.trained_on[source]], note))), group=group
        )
        group = note = ""
    if of_decoder.gaps:
        cells = (
            count_cell(sum(of_decoder.n_tiles.values())),
            *(value_cell(of_decoder.gaps.get(name)) for name in _METRICS),
        )
        yield Row("Gap", cells, note="seen minus not seen")


def _left_out(evaluation: FamilyEvaluation, of_decoder: SourceValues) -> str:
    """What is said of tiles that name no source."""
    without = evaluation.n_tiles - sum(of_decoder.n_tiles.values())
    return f"{counted(without, 'tile')} of unknown source left out" if without else ""
