"""Trained OrganHead: checkpoint -> module, CLS tokens -> probabilities of organs."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from cellvit.errors import ContractError
from cellvit.io.checkpoints import read_checkpoint
from cellvit.models.organ_head import OrganHead
from cellvit.taxonomy import ORGANS


def load_organ_head(path: Path, device: torch.device) -> OrganHead:
    """The head of a checkpoint, ready to predict.

    Raises:
        MissingInputError: There is no file.
        AbsentModelError: The file says that there was nothing to train on.
        ContractError: It holds another kind of model, weights that do not fit, or other organs than PanNuke's.
    """
    header, weights = read_checkpoint(path)
    remedy = f"Train it again: rm {path} && snakemake -- {path}"
    organs = header.architecture.get("organs")
    if header.kind != "organ_head" or organs != len(ORGANS):
        raise ContractError(
            f"{path}: expected an organ_head of {len(ORGANS)} organs, found {header.kind} of {organs}. {remedy}"
        )
    try:
        head = OrganHead(**header.architecture)
        head.load_state_dict(weights, strict=True)
    except (TypeError, RuntimeError) as error:
        raise ContractError(f"{path}: weights and architecture do not belong together ({error}). {remedy}") from error
    return head.to(device).eval()


@torch.inference_mode()
def organ_probabilities(
    head: OrganHead, cls: Float32[np.ndarray, "b dim"], device: torch.device
) -> Float32[np.ndarray, "b 19"]:
    """Calibrated probability of every organ, in the order of `cellvit.taxonomy.ORGANS`."""
    probabilities: Float32[np.ndarray, "b 19"] = head.probabilities(torch.from_numpy(cls).to(device)).cpu().numpy()
    return probabilities
