"""What is counted while an image is predicted."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int32

from cellvit.prediction.models import ReadyDecoder


@dataclass(slots=True)
class Findings:
    """What was found while an image was predicted.

    Attributes:
        decoders: Decoder of each bundle.
        n_encoded: Tiles that were encoded; `n_judged` of those in the area were compared with the training data.
        unlike: Row and column of the tiles that are unlike the training data.
        n_by_class: Nuclei by the name of their class.
    """

    decoders: tuple[ReadyDecoder, ...]
    n_encoded: int = 0
    n_judged: int = 0
    unlike: list[Int32[np.ndarray, "k 2"]] = field(default_factory=list)
    n_by_class: dict[str, int] = field(default_factory=dict)

    @property
    def n_unlike(self) -> int:
        """Number of tiles that are unlike the training data."""
        return sum(map(len, self.unlike))
