"""History of a training: one record an epoch, one row an epoch in a CSV."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cellvit.formats.atomic import write_text

LOSS_PARTS: Final = (
    "np",
    "hv",
    "hv_l1",
    "hv_gradient",
    "hv_magnitude",
    "nt",
    "total",
    "weight_np",
    "weight_hv",
    "weight_nt",
)
"""Parts of the decoder's loss, in the order of `cellvit.losses.hover.LossParts`."""


MAP_FIGURES: Final = ("np_dice", "hv_mse", "hv_skill", "hv_magnitude_mean", "nt_accuracy", "bpq")
"""Values of the decoder's maps on validation tiles (hv_magnitude_mean: mean length of HV on nuclei)."""


@dataclass(frozen=True, slots=True)
class HistoryFormat:
    """Columns of a history, without prefix.

    Attributes:
        train: Means over the training tiles of the epoch, while the weights changed.
        validate: Measured on the validation tiles after the epoch; NaN where there are none.
    """

    train: tuple[str, ...]
    validate: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the CSV; `chosen` is 1 on the epoch whose weights were kept and 0 elsewhere."""
        train = (f"train_{name}" for name in self.train)
        validate = (f"validate_{name}" for name in self.validate)
        return ("epoch", "rate", *train, *validate, "chosen")


HOVERNET_HISTORY: Final = HistoryFormat(LOSS_PARTS, (*LOSS_PARTS, *MAP_FIGURES))


ORGAN_HEAD_HISTORY: Final = HistoryFormat(("total",), ("total", "accuracy", "balanced_accuracy"))


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch did.

    Attributes:
        epoch: Counted from 1.
        rate: Learning rate of the last step.
        train: Values by the names of the format; `validate` likewise. NaN where not measured.
    """

    epoch: int
    rate: float
    train: Mapping[str, float]
    validate: Mapping[str, float]


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
