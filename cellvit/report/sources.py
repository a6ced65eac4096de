"""Table of the values by source of the test tiles, and of the gap to sources that did not train the decoder."""

from collections.abc import Iterable, Iterator
from typing import Final

from cellvit.evaluation.sources import SOURCE_METRICS
from cellvit.formats.evaluations import FamilyEvaluation, SourceValues
from cellvit.report.cells import Row, Table, count_cell, value_cell
from cellvit.report.wording import counted, decoder_label, metric_of

HEADING: Final = "By source of the tiles"

EXPLANATION: Final = (
    "A source is the laboratory or data set that a tile comes from (sources.npy). The gap is the value over all tiles of "
    "sources that trained the decoder, minus the value over all tiles of sources that did not. A large gap means that the "
    "decoder is worse on tiles of another laboratory, or that those tiles are harder for every decoder; a split that trains "
    "on all sources shows which of the two it is."
)
"""What the gap means, for a reader of the page."""

_TRAINED_ON: Final = {
    "seen": "seen in training",
    "unseen": "not seen in training",
    "unknown": "perhaps seen in training",
}


def source_table(evaluations: Iterable[FamilyEvaluation]) -> Table:
    """Every source of every evaluated decoder with its gap; no rows where no test tile names its source."""
    rows = [row for evaluation in evaluations for row in _rows(evaluation)]
    columns = ("Tiles", *(metric_of(name).label for name in SOURCE_METRICS))
    note = "Small print: 95 % interval over patients where they are known, else over tiles. Gap: seen minus not seen."
    return Table(HEADING, "Decoder and source", columns, tuple(rows), note, "results")


def _rows(evaluation: FamilyEvaluation) -> Iterator[Row]:
    of_decoder = evaluation.sources.get("decoder")
    if of_decoder is None:
        return
    group, note = decoder_label(evaluation.split, evaluation.family), _left_out(evaluation, of_decoder)
    for source, values in of_decoder.values.items():
        cells = (count_cell(of_decoder.n_tiles[source]), *(value_cell(values.get(name)) for name in SOURCE_METRICS))
        notes = filter(None, (_TRAINED_ON[of_decoder.trained_on[source]], note))
        yield Row(source, cells, note="; ".join(notes), group=group)
        group = note = ""
    if of_decoder.gaps:
        total = count_cell(sum(of_decoder.n_tiles.values()))
        cells = (total, *(value_cell(of_decoder.gaps.get(name)) for name in SOURCE_METRICS))
        yield Row("Gap", cells, note="seen minus not seen")


def _left_out(evaluation: FamilyEvaluation, of_decoder: SourceValues) -> str:
    """What is said of tiles that name no source."""
    without = evaluation.n_tiles - sum(of_decoder.n_tiles.values())
    return f"{counted(without, 'tile')} of unknown source left out" if without else ""
