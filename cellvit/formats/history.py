"""History of a training: one record an epoch in memory, one row an epoch in a CSV."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from cellvit.formats.atomic import write_text
from cellvit.formats.digests import missing

_WEIGHTS: Final = ("weight_np", "weight_hv", "weight_nt")

LOSS_PARTS: Final = ("np", "hv", "hv_l1", "hv_gradient", "hv_magnitude", "nt", "total", *_WEIGHTS)
"""Parts of the decoder's loss, in the order of `cellvit.losses.hover.LossParts`."""

MAP_METRICS: Final = ("np_dice", "hv_mse", "hv_skill", "hv_angle", "hv_length", "nt_accuracy")
"""Metrics of the decoder's maps (hv_angle, hv_length: mean error of direction, mean length of the predicted HV on nuclei)."""

SELECTION_METRICS: Final = ("bpq", "mpq", "aji")
"""Metrics of segmented nuclei; the one that selects the epoch (`watershed.select_by`) is measured."""

VALIDATION_METRICS: Final = (*MAP_METRICS, *SELECTION_METRICS)
"""Metrics on the validation tiles."""

_NINE_DIGITS: Final = "%.9g"
"""Format of the numbers: nine significant digits represent a float32 exactly."""


@dataclass(frozen=True, slots=True)
class HistoryFormat:
    """Columns of a history, without prefix.

    Attributes:
        train: Means over the training tiles of the epoch, while the weights changed.
        validate: Values on the validation tiles after the epoch; NaN where there are none.
    """

    train: tuple[str, ...]
    validate: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the CSV; `selected` is 1 for the epoch whose weights are in the checkpoint, and 0 for the others."""
        train = (f"train_{name}" for name in self.train)
        validate = (f"validate_{name}" for name in self.validate)
        return ("epoch", "rate", *train, *validate, "selected")


HOVERNET_HISTORY: Final = HistoryFormat(LOSS_PARTS, (*LOSS_PARTS, *VALIDATION_METRICS))

ORGAN_HEAD_HISTORY: Final = HistoryFormat(("total",), ("total", "accuracy", "balanced_accuracy"))


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """Values of one epoch.

    Attributes:
        epoch: Number of the epoch, from 1.
        rate: Learning rate of the last step.
        train: Values by the names of the format; `validate` likewise. NaN where not measured.
    """

    epoch: int
    rate: float
    train: Mapping[str, float]
    validate: Mapping[str, float]

    @property
    def values(self) -> dict[str, float]:
        """Every value, named as the columns of the CSV."""
        train = {f"train_{name}": value for name, value in self.train.items()}
        return train | {f"validate_{name}": value for name, value in self.validate.items()}


def write_history(path: Path, fmt: HistoryFormat, records: Sequence[EpochRecord], *, selected: int) -> None:
    """Write a row for each record; undefined values are empty. Without records, the header alone is written."""
    rows: list[dict[str, Any]] = [
        {"epoch": record.epoch, "rate": record.rate, **record.values, "selected": int(record.epoch == selected)}
        for record in records
    ]
    table = pd.DataFrame(rows, columns=list(fmt.columns))
    write_text(path, table.to_csv(index=False, float_format=_NINE_DIGITS, lineterminator="\n"))


def read_history(path: Path) -> pd.DataFrame:
    """A row for each epoch, with the columns of its format.

    Raises:
        MissingInputError: There is no such file.
    """
    if not path.exists():
        raise missing(path)
    return pd.read_csv(path)
