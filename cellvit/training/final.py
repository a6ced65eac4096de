"""What the splits choose for a final model, which has no validation tiles of its own (docs/decisions/0016-final-models.md)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from cellvit.formats.checkpoints import read_header
from cellvit.training.resuming import SelectedModel

NOTHING_CHOSEN: Final = "no split trained this model, so that nothing chose its number of steps or says how good it is"
"""Why a final model is absent although it has training tiles."""


@dataclass(frozen=True, slots=True)
class ChosenBySplits:
    """What the models of the splits choose for the final one.

    Attributes:
        share: Median share of its steps after which the weights of a split were selected, at most 1; 0 if it has no steps.
        temperature: Median temperature of the OrganHeads; 1 for decoders, which have none.
        selection: The choice in words.
    """

    share: float
    temperature: float
    selection: str

    def steps(self, n_steps: int) -> int:
        """Steps that the final model takes of `n_steps`; none only if the splits chose the weights to start from.

        Examples:
            >>> ChosenBySplits(0.75, 1.0, "").steps(2000)
            1500
        """
        return max(1, round(self.share * n_steps)) if self.share else 0

    def applied(self, model: SelectedModel) -> SelectedModel:
        """The trained model with the choice in words, and with the temperature where it has one."""
        temperature = {"temperature": np.array(self.temperature, np.float32)} if "temperature" in model.weights else {}
        return replace(model, weights={**model.weights, **temperature}, selection=self.selection)


def chosen_by_splits(paths: Sequence[Path], n_steps: Callable[[int], int]) -> ChosenBySplits | None:
    """What the models at `paths`, one a split, choose; None if none of them could be trained.

    Args:
        n_steps: Planned steps of a training on a number of tiles.
    """
    headers = [header for header in map(read_header, paths) if header.status == "trained"]
    if not headers:
        return None
    shares = [header.step / max(1, n_steps(header.tiles["train"])) for header in headers]
    listed = ", ".join(f"{header.split}: {share:.3g}" for header, share in zip(headers, shares, strict=True))
    share = median(shares)
    return ChosenBySplits(
        share=share,
        temperature=median(header.metrics.get("temperature", 1.0) for header in headers),
        selection=f"the share {share:.3g} of its steps, the median over the splits ({listed}); no fold was left to validate",
    )
