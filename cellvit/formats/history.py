"""History of a training: a record for each round of steps in memory, a row for each in a CSV."""

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
"""Metrics of segmented nuclei; the one that selects the step (`watershed.select_by`) is measured."""

VALIDATION_METRICS: Final = (*MAP_METRICS, *SELECTION_METRICS)
"""Metrics on the validation tiles."""

_NINE_DIGITS: Final = "%.9g"
"""Format of the numbers: nine significant digits represent a float32 exactly."""


@dataclass(frozen=True, slots=True)
class HistoryFormat:
    """Columns of a history, without prefix.

    Attributes:
        train: Means over the training tiles of the round, while the weights changed.
        validate: Values on the validation tiles after the round; NaN where there are none, or nothing was measured.
    """

    train: tuple[str, ...]
    validate: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the CSV; `selected` is 1 for the round whose weights are in the checkpoint, and 0 for the others."""
        train = (f"train_{name}" for name in self.train)
        validate = (f"validate_{name}" for name in self.validate)
        return ("step", "epochs", "rate", *train, *validate, "selected")


HOVERNET_HISTORY: Final = HistoryFormat((*LOSS_PARTS, "clipped"), (*LOSS_PARTS, *VALIDATION_METRICS))
"""History of a decoder; `clipped` is the share of the steps whose gradient was clipped."""

ORGAN_HEAD_HISTORY: Final = HistoryFormat(("total",), ("total", "accuracy", "balanced_accuracy"))


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """Values of one round: some steps of a training, and what was measured after them.

    Attributes:
        step: Steps of the training up to the end of the round.
        epochs: Passes over the training tiles that these steps amount to.
        rate: Learning rate of the last step.
        train: Values by the names of the format; `validate` likewise. NaN where not measured.
    """

    step: int
    epochs: float
    rate: float
    train: Mapping[str, float]
    validate: Mapping[str, float]

    @property
    def values(self) -> dict[str, float]:
        """Every value, named as the columns of the CSV."""
        train = {f"train_{name}": value for name, value in self.train.items()}
        return train | {f"validate_{name}": value for name, value in self.validate.items()}


def write_history(path: Path, fmt: HistoryFormat, records: Sequence[RoundRecord], *, selected: int) -> None:
    """Write a row for each record; undefined values are empty. Without records, the header alone is written."""
    rows: list[dict[str, Any]] = [
        {
            "step": record.step,
            "epochs": record.epochs,
            "rate": record.rate,
            **record.values,
            "selected": int(record.step == selected),
        }
        for record in records
    ]
    table = pd.DataFrame(rows, columns=list(fmt.columns))
    write_text(path, table.to_csv(index=False, float_format=_NINE_DIGITS, lineterminator="\n"))


def read_history(path: Path) -> pd.DataFrame:
    """A row for each round, with the columns of its format.

    Raises:
        MissingInputError: The file does not exist.
    """
    if not path.exists():
        raise missing(path)
    return pd.read_csv(path)
