"""History of a training: one record an epoch, one row an epoch in a CSV."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

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
"""Figures of the decoder's maps on validation tiles (hv_magnitude_mean: mean length of HV on nuclei)."""


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
        train: Figures by the names of the format; `validate` likewise. NaN where not measured.
    """

    epoch: int
    rate: float
    train: Mapping[str, float]
    validate: Mapping[str, float]
