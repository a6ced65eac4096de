"""NP, HV and NT maps of a batch: the output of a decoder, and the input of its loss."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class HoverMaps(NamedTuple):
    """Raw output of a HoVer-Net decoder at tile resolution.

    Attributes:
        np: Logits of background and nucleus.
        hv: Horizontal (right +) and vertical (down +) distance to the centre of mass, about -1..1.
        nt: Logits of the six classes, background first (`cellvit.taxonomy.NucleusClass`).
    """

    np: Float[Tensor, "b 2 h w"]
    hv: Float[Tensor, "b 2 h w"]
    nt: Float[Tensor, "b 6 h w"]
