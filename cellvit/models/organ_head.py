"""OrganHead: the organ of a tile from its CLS token."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cellvit.errors import ContractError
from cellvit.taxonomy import ORGANS


class OrganHead(nn.Module):
    """Standardised CLS tokens to organ logits: LayerNorm, linear, ReLU, dropout, linear.

    Everything that prediction needs is in the weights: mean and spread of the training tokens, the temperature, and
    which organs were there to learn from. An organ without training tiles is never predicted. The defaults are the head
    of the original system.

    Args:
        dim: Width of a CLS token.
        hidden: Width of the hidden layer.
        organs: Number of organs.
        dropout: Share of the hidden units dropped.

    Shapes:
        cls: (b, dim), as the encoder gives them.
        returns: (b, organs).
    """

    mean: Float[Tensor, " dim"]
    std: Float[Tensor, " dim"]
    temperature: Float[Tensor, ""]
    known: Bool[Tensor, " organs"]

    def __init__(self, dim: int, hidden: int = 256, organs: int = len(ORGANS), dropout: float = 0.1) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("known", torch.ones(organs, dtype=torch.bool))
        self.layers = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, organs),
        )

    def forward(self, cls: Float[Tensor, "b dim"]) -> Float[Tensor, "b organs"]:
        """Logits of every organ, before the temperature; what training sees."""
        logits: Float[Tensor, "b organs"] = self.layers((cls.float() - self.mean) / self.std)
        return logits

    def probabilities(self, cls: Float[Tensor, "b dim"]) -> Float[Tensor, "b organs"]:
        """Calibrated probabilities; exactly 0 for organs without training tiles."""
        return known_softmax(self(cls), self.known, self.temperature)

    def standardise(self, cls: Float[Tensor, "n dim"]) -> None:
        """Take mean and spread from training tokens; a value that never varies is only centred."""
        spread, mean = torch.std_mean(cls.float(), dim=0, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(spread > 0, spread, 1))

    def learn_only(self, known: Bool[Tensor, " organs"]) -> None:
        """Set which organs can be predicted.

        Raises:
            ContractError: None can.
        """
        if not known.any():
            raise ContractError("OrganHead: needs training tiles of at least one organ, found none.")
        self.known.copy_(known)


def known_softmax(
    logits: Float[Tensor, "b organs"], known: Bool[Tensor, " organs"], temperature: Tensor | float
) -> Float[Tensor, "b organs"]:
    """Softmax of ``logits / temperature`` over known organs; 0 for the others."""
    return (logits / temperature).masked_fill(~known, -torch.inf).softmax(dim=1)
