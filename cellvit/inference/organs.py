"""Trained OrganHead: checkpoint -> module, CLS tokens -> probabilities of the organs."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int

from cellvit.formats.hdf5 import Rows
from cellvit.inference.blocks import check_same_encoder
from cellvit.inference.cls_tokens import read_cls
from cellvit.inference.loading import Loaded, load_module
from cellvit.models.organ_head import OrganHead


def load_organ_head(path: Path, device: torch.device) -> Loaded[OrganHead]:
    """The OrganHead of a checkpoint; raises as `load_module`."""
    return load_module(path, "organ_head", OrganHead, device)


@torch.inference_mode()
def predict_organs(
    head: Loaded[OrganHead], features: Rows, rows: Int[np.ndarray, " r"]
) -> Float32[np.ndarray, "r organs"]:
    """Calibrated probabilities of `head.header.organs` for the tiles at `rows`, in one forward pass.

    Raises:
        StaleFileError: The features come from another encoder.
    """
    check_same_encoder(features, head.header.encoder)
    cls = torch.from_numpy(read_cls(features, rows)).to(head.device)
    probabilities: Float32[np.ndarray, "r organs"] = head.module.probabilities(cls).cpu().numpy()
    return probabilities
