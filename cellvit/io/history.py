"""Histories of trainings as CSV: a function of data, settings and seed, so without times."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from cellvit.contracts.history import EpochRecord, HistoryFormat
from cellvit.io.atomic import write_text

_DIGITS = 9
"""Significant digits: a float32 survives."""


def write_history(path: Path, fmt: HistoryFormat, records: Sequence[EpochRecord], *, chosen: int | None) -> None:
    """Write a row an epoch, `chosen` marked; undefined figures are empty, and no record leaves the header alone."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(fmt.columns)
    writer.writerows(list(_cells(fmt, record, chosen)) for record in records)
    write_text(path, text.getvalue())


def _cells(fmt: HistoryFormat, record: EpochRecord, chosen: int | None) -> Iterator[str]:
    yield str(record.epoch)
    yield _number(record.rate)
    yield from (_number(record.train[name]) for name in fmt.train)
    yield from (_number(record.validate[name]) for name in fmt.validate)
    yield str(int(record.epoch == chosen))


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.{_DIGITS}g}"
