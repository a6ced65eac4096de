"""OrganHead: the organ of a tile from its CLS token."""

from typing import Final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cellvit.config.models import OrganHeadSettings
from cellvit.errors import ContractError
from cellvit.taxonomy import ORGANS

_DEFAULTS: Final = OrganHeadSettings()


class OrganHead(nn.Module):
    """Standardised CLS tokens -> organ logits: LayerNorm, linear, ReLU, dropout, linear.

    The weights hold everything that prediction needs: mean and standard deviation of the training tokens, the
    temperature, and which organs had training tiles. An organ without training tiles is never predicted.

    Departures from the original system, whose layers these are: tokens are standardised, and probabilities calibrated.

    Shapes:
        cls: (b, dim), the output of the encoder.
        returns: (b, organs).
    """

    mean: Float[Tensor, " dim"]
    std: Float[Tensor, " dim"]
    temperature: Float[Tensor, ""]
    trained: Bool[Tensor, " organs"]

    def __init__(
        self, dim: int, hidden: int = _DEFAULTS.hidden, organs: int = len(ORGANS), dropout: float = _DEFAULTS.dropout
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("trained", torch.ones(organs, dtype=torch.bool))
        self.layers = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, organs),
        )

    def forward(self, cls: Float[Tensor, "b dim"]) -> Float[Tensor, "b organs"]:
        """Logits of every organ, before the temperature; the loss of the training uses these."""
        logits: Float[Tensor, "b organs"] = self.layers((cls.float() - self.mean) / self.std)
        return logits

    def probabilities(self, cls: Float[Tensor, "b dim"]) -> Float[Tensor, "b organs"]:
        """Calibrated probabilities; exactly 0 for organs without training tiles."""
        return softmax_of_trained(self(cls), self.trained, self.temperature)

    def standardise(self, cls: Float[Tensor, "n dim"]) -> None:
        """Set mean and standard deviation to those of training tokens; a channel that never varies is only centred."""
        spread, mean = torch.std_mean(cls.float(), dim=0, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(spread > 0, spread, 1))

    def set_trained(self, trained: Bool[Tensor, " organs"]) -> None:
        """Set which organs have training tiles, at least one (ContractError); only these can be predicted."""
        if not trained.any():
            raise ContractError("OrganHead: needs training tiles of at least one organ, found none.")
        self.trained.copy_(trained)


def softmax_of_trained(
    logits: Float[Tensor, "b organs"], trained: Bool[Tensor, " organs"], temperature: Tensor | float
) -> Float[Tensor, "b organs"]:
    """Softmax of ``logits / temperature`` over the organs with training tiles; 0 for the others."""
    return (logits / temperature).masked_fill(~trained, -torch.inf).softmax(dim=1)
