"""What is known of the training of a decoder when its results are graded: the settings in use, and the curves."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from cellvit.config.encoders import FeaturesSettings
from cellvit.config.models import DecoderSettings, TrainingSettings
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.taxonomy import SHARED_FAMILY

_END_SHARE: Final = 0.1
"""Share of the rounds that are the end of a training, and that are compared with as many before them."""

_STILL_FALLING: Final = 0.02
"""Relative fall of the loss from one to the other that counts: the cosine decay of the rate alone gives about 1 %."""

_RISES: Final = 1.02
"""A validation loss that ends higher than its lowest value by this factor is rising: training longer would overfit."""


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """How a decoder was trained.

    Attributes:
        training: Settings of its training, as its checkpoint records them; `decoder` likewise.
        steps: Optimizer steps that were taken; 0 if unknown.
        still_falls: Whether the loss still fell at the end of all steps, and the validation loss did not rise.
        clipped: Share of the steps whose gradient was clipped; NaN if unknown.
        input_px: Side to which tiles were resized for the encoder.
        is_shared: Whether it is the shared decoder, or there is none: it can start from no other one.
    """

    training: Mapping[str, Any] = field(default_factory=lambda: TrainingSettings().model_dump())
    decoder: Mapping[str, Any] = field(default_factory=lambda: DecoderSettings().model_dump())
    steps: int = 0
    still_falls: bool = False
    clipped: float = math.nan
    input_px: int = FeaturesSettings().input_px
    is_shared: bool = False

    def loss_weight(self, name: str) -> float:
        """A weight of the loss, as `hv_weight`."""
        return float(self.training["loss"][name])


def training_record(header: CheckpointHeader, history: pd.DataFrame, *, has_shared: bool = True) -> TrainingRecord:
    """The record of a trained decoder, from the header of its checkpoint and its history.

    Args:
        has_shared: Whether the run has a shared decoder beside those of the families.
    """
    settings = header.provenance.settings
    training = TrainingSettings.model_validate(settings.get("training", {}))
    steps = int(history["step"].iloc[-1]) if len(history) else 0
    was_stopped = steps < training.n_steps(header.tiles.get("train", 0))  # training.patience
    return TrainingRecord(
        training=training.model_dump(),
        decoder=DecoderSettings().model_dump() | dict(settings.get("decoder", {})),
        steps=steps,
        still_falls=_still_falls(history) and not was_stopped,
        clipped=float(history["train_clipped"].mean()),
        input_px=header.encoder.get("features", {}).get("input_px", FeaturesSettings().input_px),
        is_shared=header.family == SHARED_FAMILY or not has_shared,
    )


def _still_falls(history: pd.DataFrame) -> bool:
    n = max(1, round(_END_SHARE * len(history)))
    if len(history) < 2 * n:
        return False
    loss = history["train_total"].to_numpy(np.float64)
    validated = history["validate_total"].dropna().to_numpy(np.float64)
    rises = len(validated) > 0 and validated[-n:].mean() > _RISES * validated.min()
    return bool(loss[-n:].mean() < (1 - _STILL_FALLING) * loss[-2 * n : -n].mean()) and not rises
