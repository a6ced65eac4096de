"""Tokens of an encoder that is not a vision transformer: the levels of a feature pyramid, brought to one grid."""

from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn import functional

from cellvit.config.presets import EncoderPreset, Level
from cellvit.errors import ContractError
from cellvit.models.vit import set_input_size

_EPSILON: Final = 1e-6
"""Added to the variance over channels, as in the LayerNorm of vision transformers."""


class PyramidTokens(nn.Module):
    """Levels of any timm model with `features_only` (a CNN, or a hierarchical transformer) as one grid of tokens.

    1. Every level is standardised: in each of its cells, the channels get mean 0 and variance 1 (LayerNorm without
       parameters). A token thus depends on its tile alone, not on the data of a fold, and every level counts alike,
       whatever the scale of its activations. Nothing is lost to a linear probe (docs/encoders.md): on real tiles it
       reaches R2 .535 and balanced recall .726, with standardisation by the statistics of a fold .530 and .722.
    2. Levels that are finer than the grid are rearranged, not averaged (space to depth): the cells of a level
       that lie in a cell of the grid follow each other along the channels. Coarser levels are upsampled (bilinear).
    3. The levels are concatenated in their order: tokens of one block.

    CLS is the mean of the tokens over the grid, so that it has all levels and the width of a token.

    Positions follow the tile: if the tile is flipped, or moved by a multiple of the coarsest stride, the tokens move with
    it. Values follow only roughly: kernels have an orientation, strided convolutions are padded on one side more than on
    the other, and near a border the padding is in view.

    Shapes:
        prepared: (b, 3, s, s), s = the input size.
        returns: CLS (b, dim) and tokens (b, 1, g, g, dim), g = s / the cell of the grid.

    Raises:
        ContractError: The model has no feature pyramid, or not the levels that the settings name.
        SettingsError: The model accepts no other input size than its own.
    """

    def __init__(self, model: nn.Module, spec: EncoderPreset, levels: Sequence[int], input_px: int) -> None:
        super().__init__()
        _check(model, spec)
        if hasattr(model, "set_input_size"):  # a CNN needs no size
            set_input_size(model, input_px)
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._name, self._levels, self._grid = spec.name, list(levels), input_px // spec.patch_px
        self._shapes = [
            (spec.levels[number].channels, *2 * (input_px // spec.levels[number].stride_px,)) for number in levels
        ]

    def forward(
        self, prepared: Float32[Tensor, "b 3 s s"]
    ) -> tuple[Float32[Tensor, "b dim"], Float32[Tensor, "b 1 g g dim"]]:
        """CLS and tokens of prepared tiles.

        Raises:
            ContractError: The model's levels have other sizes than their strides and channels give.
        """
        at_a_time = len(prepared) if prepared.is_cuda else 1  # the activations of one tile fit the cache of a CPU
        tokens = torch.cat([self._tokens(part) for part in prepared.split(max(at_a_time, 1))])
        return tokens.mean(dim=(1, 2)), tokens[:, None]

    def _tokens(self, prepared: Float32[Tensor, "b 3 s s"]) -> Float32[Tensor, "b g g dim"]:
        levels: list[Tensor] = self.model.forward_intermediates(  # type: ignore[operator]
            prepared.contiguous(memory_format=torch.channels_last), indices=self._levels, intermediates_only=True
        )
        found = [tuple(level.shape[1:]) for level in levels]
        if found != self._shapes:
            raise ContractError(
                f"encoder {self._name}: expected levels of channels, height and width {self._shapes} for this input "
                f"size, found {found}. Fix: correct encoder.custom.levels, or choose another features.input_px"
            )
        return torch.cat([on_grid(standardised(level), self._grid) for level in levels], dim=3)


def standardised(level: Float[Tensor, "b c s s"]) -> Float32[Tensor, "b c s s"]:
    """Mean 0 and variance 1 over the channels of each cell; computed in float32."""
    channels_last = level.float().permute(0, 2, 3, 1)
    return functional.layer_norm(channels_last, channels_last.shape[3:], eps=_EPSILON).permute(0, 3, 1, 2)


def on_grid(level: Float[Tensor, "b c s s"], grid: int) -> Float[Tensor, "b g g d"]:
    """A level at a grid of `grid` cells per side, which divides the side of the level or is a multiple of it.

    A finer level has k x k cells in a cell of the grid: channel c of the one in row i and column j becomes channel
    (c * k + i) * k + j. A coarser level is upsampled (bilinear); the centres of its cells stay where they are.
    """
    side = level.shape[3]
    if side >= grid:
        placed = functional.pixel_unshuffle(level, side // grid)
    else:
        placed = functional.interpolate(level, (grid, grid), mode="bilinear", align_corners=False)
    return placed.permute(0, 2, 3, 1)


def _check(model: nn.Module, spec: EncoderPreset) -> None:
    info = getattr(model, "feature_info", None)
    if not (hasattr(model, "forward_intermediates") and isinstance(info, list)):
        raise ContractError(
            f"encoder {spec.name}: expected a timm model that gives a feature pyramid (features_only), found "
            f"{type(model).__name__}, which has no forward_intermediates or no feature_info. Fix: choose another model"
        )
    found = tuple(Level(level["reduction"], level["num_chs"]) for level in info)
    if found != spec.levels:
        expected, listed = ([list(level) for level in levels] for levels in (spec.levels, found))
        raise ContractError(
            f"encoder {spec.name}: expected the levels {expected} (stride in px, channels) by the settings, found "
            f"{listed} in {type(model).__name__}. Fix: set encoder.custom.levels: {listed}"
        )
