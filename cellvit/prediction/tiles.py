"""Arrays of tiles -> their nuclei, for use from Python; images and slides of any size are predicted by the command `predict`."""

import numpy as np
import torch
from jaxtyping import UInt8

from cellvit.errors import ContractError
from cellvit.inference.predictions import Segmentation
from cellvit.inference.segment import segment_tile
from cellvit.prediction.models import Ensemble, TilePredictor
from cellvit.prediction.organ import families_of
from cellvit.taxonomy import TILE_PX


def segment_tiles(
    ensemble: Ensemble, tiles: UInt8[np.ndarray, "b 256 256 3"], *, organ: str = ""
) -> list[Segmentation]:
    """Nuclei of tiles, decoded as the evaluation of a run decodes them.

    Args:
        ensemble: Of `cellvit.prediction.models.load_ensemble`.
        tiles: RGB, 0..255, at the resolution of the models; as many as fit into the memory of the device.
        organ: Decides which decoder is used; the default decoder without it.

    Raises:
        ContractError: The array is not a batch of 8-bit RGB tiles.
    """
    if tiles.dtype != np.uint8 or tiles.shape[1:] != (TILE_PX, TILE_PX, 3):
        raise ContractError(
            f"tiles: expected an array of uint8 with the shape (n, {TILE_PX}, {TILE_PX}, 3), found {tiles.dtype} with the "
            f"shape {tiles.shape}. Fix: convert to 8-bit RGB, and cut or resample to {TILE_PX} px"
        )
    if not len(tiles):
        return []
    decoders = ensemble.decoders(families_of(ensemble, organ), average_views=False)
    predictor = TilePredictor(ensemble, decoders)
    images = torch.tensor(tiles, device=ensemble.device)  # a copy: the array may be read-only
    np_prob, hv, nt_prob = (values.cpu().numpy() for values in predictor.predicted(images).maps)
    watershed = decoders[0].watershed
    return [segment_tile(np_prob[row], hv[row], nt_prob[row], watershed) for row in range(len(tiles))]
