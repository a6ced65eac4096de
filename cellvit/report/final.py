"""Final models: what they were trained on, what the splits chose for them, and the values of the splits."""

from collections.abc import Sequence
from typing import Final

from cellvit.evaluation.summary import ORGAN_HEAD, Keyed
from cellvit.formats.summary import MEAN_SPLIT
from cellvit.report.cells import ABSENT, Cell, Row, Table, absent_row, count_cell, range_cell
from cellvit.report.data import FinalModel
from cellvit.report.wording import family_label, metric_of

EXPLANATION: Final = (
    "These models were trained on all folds, for use. No fold was left to test them: the values of the splits, whose models "
    "were trained in the same way on fewer tiles, are the estimate of their quality."
)

_METRICS: Final = ("aji", "bpq", "mpq", "organ_accuracy")
"""Metrics of the splits that are shown beside each final model, where it has them."""


def final_table(models: Sequence[FinalModel], summary: Keyed) -> Table:
    """A row for each final model; no rows where none was trained."""
    labels = [f"Splits: {metric_of(name).label}" for name in _METRICS]
    columns = ("Training tiles", "Steps", "Chosen by", "Decoding", *labels)
    splits = [split for split, _ in summary]
    split = MEAN_SPLIT if MEAN_SPLIT in splits else next(iter(splits), "")
    rows = []
    for model in models:
        header, family = model.header, model.header.family or ORGAN_HEAD
        if header.status == "absent":
            rows.append(absent_row(family_label(family), header.reason, len(columns)))
            continue
        values = summary.get((split, family), {})
        cells = (
            count_cell(header.tiles["train"]),
            count_cell(header.step),
            Cell(header.selection),
            _decoding(model),
            *(range_cell(values.get(name)) for name in _METRICS),
        )
        rows.append(Row(family_label(family), cells))
    of = "mean over splits, with their range" if split == MEAN_SPLIT else f"test tiles of split {split}"
    note = (
        f"Values of the splits: {of}. The decoding was tuned on the validation tiles of all splits together, with the maps of "
        "the decoder of each split, which was not trained on them."
    )
    return Table("Final models: no test values", "Model", columns, tuple(rows), note)


def _decoding(model: FinalModel) -> Cell:
    if model.watershed is None:
        return ABSENT
    parameters = ", ".join(f"{name} {value:g}" for name, value in model.watershed.parameters.items())
    return Cell(f"{model.watershed.method} ({model.watershed.status})", hint=model.watershed.reason or parameters)
