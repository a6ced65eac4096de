"""What must be the same for a training to go on from an earlier run's state."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from cellvit.formats.checkpoints import CheckpointHeader


def identity_of(
    header: CheckpointHeader, *, folds_in_order: Sequence[int | str], code: str, device: torch.device
) -> dict[str, str]:
    """All that decides the weights of a training, by name.

    Threads count on a CPU alone: sums in another order round differently, and a GPU takes no part of them.

    Args:
        header: What is known before training.
        folds_in_order: Folds as the data lie: the order of the tiles is drawn from theirs.
        code: Fingerprint of the code that trains.
    """
    return {
        "model": header.kind,
        "split": header.split,
        "family": header.family or "none",
        "folds": json.dumps(header.folds),
        "order of folds": json.dumps(list(folds_in_order)),
        "code": code,
        "software": f"torch {torch.__version__}, numpy {np.__version__}",
        "device": device.type,
        "threads": str(torch.get_num_threads()) if device.type == "cpu" else "any",
        **{f"content of {name}": sha256 for name, sha256 in header.provenance.made_from.items()},
        **dict(_leaves(header.provenance.settings)),
    }


def _leaves(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Each setting by its name with dots."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", json.dumps(value)
