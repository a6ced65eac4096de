"""Outputs of a training: the checkpoint, and the history beside it."""

import logging
from pathlib import Path

from cellvit.formats.atomic import replacing_together
from cellvit.formats.checkpoints import CheckpointHeader, write_checkpoint
from cellvit.formats.digests import sha256_of
from cellvit.formats.history import HOVERNET_HISTORY, ORGAN_HEAD_HISTORY, write_history
from cellvit.training.resuming import SelectedModel

log = logging.getLogger(__name__)


def write_outputs(
    checkpoint: Path, history: Path, header: CheckpointHeader, model: SelectedModel | None = None, **metrics: float
) -> None:
    """Replace checkpoint and history; files of two trainings are never side by side.

    Args:
        header: What is known before the training.
        model: Result of the training; None where there was nothing to train on.
        metrics: Values to record beside those of the selected step.
    """
    if model is None:
        log.warning("split=%s: no model was trained: %s", header.split, header.reason)
    else:
        about = {"step": model.record.step, "selection": model.selection}
        header = header.model_copy(update={**about, "metrics": {**model.record.values, **metrics}})
    fmt = HOVERNET_HISTORY if header.kind == "hovernet" else ORGAN_HEAD_HISTORY
    with replacing_together(checkpoint, history) as (checkpoint_path, history_path):
        write_history(history_path, fmt, model.history if model else (), selected=header.step)
        header = header.model_copy(update={"tables": {"history": sha256_of(history_path)}})
        write_checkpoint(checkpoint_path, header, model.weights if model else {})
