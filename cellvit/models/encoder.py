"""The frozen encoder: tiles -> a CLS token and grids of tokens."""

import math
from contextlib import nullcontext
from typing import Final, Literal, NamedTuple

import torch
from jaxtyping import Float, Float16, Float32, UInt8
from torch import Tensor, nn
from torch.nn import functional

from cellvit.config.encoders import EncoderSettings, FeaturesSettings, check_fit
from cellvit.config.presets import EncoderPreset
from cellvit.errors import ContractError, IntegrityError, SettingsError
from cellvit.models.pyramid import PyramidTokens
from cellvit.models.vit import VitTokens
from cellvit.models.weights import LoadedModel, load_model

_WHITE: Final = 255.0
"""Largest value of an 8-bit channel."""

_FLOAT16_OVERFLOW: Final = 65520.0
"""Smallest magnitude that float16 rounds to infinity."""

_DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class EncodedTiles(NamedTuple):
    """Standardised tokens: of a vision transformer after its final LayerNorm, of a pyramid as `PyramidTokens` says.

    Attributes:
        cls: CLS token of the last block; of a pyramid, the mean of its tokens.
        tokens: Patch tokens of each stored block, without CLS and registers; of a pyramid, one grid of its levels. Cell
            (r, c) covers rows r * s to (r + 1) * s and columns c * s to (c + 1) * s of the tile, with s = side of the
            tile / g.
        largest: Largest magnitude of both before storage; not finite if the arithmetic overflowed (`check_range`).
    """

    cls: Float32[Tensor, "b dim"]
    tokens: Float16[Tensor, "b blocks g g dim"]
    largest: Float32[Tensor, ""]


class Encoder(nn.Module):
    """A frozen encoder for 8-bit RGB tiles: a vision transformer, or any timm model with a feature pyramid.

    The whole tile is resized to `input_px` (bilinear, antialiased, in float), without a crop or padding, so that the
    token grid covers the tile evenly; then it is normalised as by the authors of the encoder.

    Departures from the authors' use: tiles of 256 px are resized, not cropped, to the input size; tokens are stored as
    float16; those of `VitTokens` and `PyramidTokens`.

    Shapes:
        images: (b, h, w, 3) uint8, square.
        returns: `EncodedTiles` with cls (b, dim) and tokens (b, blocks, g, g, dim), where g = input_px / patch.

    Attributes:
        weights: File of the weights; None for random weights.
        blocks: Numbers of the token grids: blocks of a vision transformer in increasing order, (0,) for a pyramid.
        grid: Side g of the token grid.
        dim: Width of a token.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, loaded: LoadedModel, spec: EncoderPreset, features: FeaturesSettings) -> None:
        super().__init__()
        reader = PyramidTokens if spec.levels else VitTokens
        self._tokens_of = reader(loaded.model, spec, spec.read_blocks(features.blocks), features.input_px)
        self.weights = loaded.weights
        self.blocks, self.dim = spec.stored_grids(features.blocks), spec.width(features.blocks)
        self.grid = features.input_px // spec.patch_px
        self._input_px, self._precision = features.input_px, features.precision
        self.register_buffer("mean", torch.tensor(spec.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    @property
    def model(self) -> nn.Module:
        """The model of timm."""
        return self._tokens_of.model

    @property
    def device(self) -> torch.device:
        """Device on which it computes."""
        return self.mean.device

    @torch.inference_mode()
    def forward(self, images: UInt8[Tensor, "b h w 3"]) -> EncodedTiles:
        """Tokens of tiles that are on the device of the encoder.

        Raises:
            ContractError: The images are not square 8-bit RGB.
            IntegrityError: A token is not finite, or too large for float16.
        """
        encoded = self.encoded(self.prepared(images))
        check_range(encoded.largest.item())
        return encoded

    @torch.inference_mode()
    def encoded(self, prepared: Float32[Tensor, "b 3 s s"]) -> EncodedTiles:
        """Tokens of prepared tiles, not yet checked, so that nothing waits for the GPU."""
        with nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype):
            cls, tokens = self._tokens_of(prepared)
        cls = cls.float()
        return EncodedTiles(cls, tokens.half(), torch.maximum(_magnitude(tokens), _magnitude(cls)))

    def prepared(self, images: UInt8[Tensor, "b h w 3"]) -> Float32[Tensor, "b 3 s s"]:
        """Whole tiles at `input_px`, normalised.

        Raises:
            ContractError: The images are not square 8-bit RGB.
        """
        if (
            images.dtype != torch.uint8
            or images.ndim != 4
            or images.shape[3] != 3
            or images.shape[1] != images.shape[2]
        ):
            raise ContractError(
                f"encoder: images must be uint8 (b, side, side, 3), RGB in 0..255, found {images.dtype} "
                f"{tuple(images.shape)}; values of another type would overflow or be scaled twice"
            )
        side = (self._input_px, self._input_px)
        prepared = torch.empty((len(images), 3, *side), dtype=torch.float32, device=images.device)
        at_a_time = len(images) if images.is_cuda else 1  # one tile fits the cache of a CPU
        for part, out in zip(images.split(at_a_time), prepared.split(at_a_time), strict=True):
            # Channels first in memory is resized twice as fast as channels last.
            x = part.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
            if x.shape[2:] != side:
                x = functional.interpolate(x, side, mode="bilinear", align_corners=False, antialias=True)
            torch.div(x.div_(_WHITE).sub_(self.mean), self.std, out=out)
        return prepared

    @property
    def dtype(self) -> torch.dtype:
        """Arithmetic of the matrix products."""
        if self._precision == "auto":
            return torch.float16 if self.device.type == "cuda" else torch.float32
        return _DTYPES[self._precision]


def load_encoder(
    settings: EncoderSettings, features: FeaturesSettings, device: torch.device | Literal["cpu", "cuda"]
) -> Encoder:
    """The encoder that the settings name, frozen, on `device`.

    Raises:
        MissingInputError: The weights are not available.
        IntegrityError: The weights file in a package is not the published one.
        ContractError: The weights are not those of an encoder of this depth, width and patch, or of these levels, or do not
            fit strictly.
        SettingsError: timm does not accept the architecture, an argument or the input size.
    """
    try:
        check_fit(settings, features)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    encoder = Encoder(load_model(settings), settings.spec, features).to(device)
    for module in encoder.model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = True  # type: ignore[assignment]  # scaled_dot_product_attention, whatever TIMM_FUSED_ATTN is
        # Autocast would cast these weights in every pass; the results are the same, with half the memory.
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.to(encoder.dtype)
    return encoder


def check_range(largest: float) -> None:
    """Raise IntegrityError if the largest magnitude of tokens is not finite, or too large for float16."""
    if not math.isfinite(largest):
        raise IntegrityError(
            "encoder: tokens are not finite, because the arithmetic overflowed or the weights are damaged. "
            "Fix: set features.precision: bfloat16 or float32"
        )
    if largest >= _FLOAT16_OVERFLOW:
        raise IntegrityError(
            f"encoder: the largest token value is {largest:.4g}, float16 ends at {torch.finfo(torch.float16).max:.0f}. "
            "Standardised tokens are small. Fix: check the weights"
        )


def _magnitude(values: Float[Tensor, "..."]) -> Float32[Tensor, ""]:
    """Largest magnitude; NaN if any value is NaN."""
    low, high = torch.aminmax(values)
    return torch.maximum(high, -low).float()
