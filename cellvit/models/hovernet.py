"""HoVer-Net decoder: token grids of a frozen ViT, and the image beside them -> NP, HV and NT maps.

References:
    Graham et al. 2019, HoVer-Net, arXiv 1812.06499: the three maps.
    Ronneberger et al. 2015, U-Net, arXiv 1505.04597: features of the image joining the upsampling path.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor, nn

from cellvit.errors import ContractError
from cellvit.models.maps import HoverMaps
from cellvit.taxonomy import TILE_PX, NucleusClass

ImageStem = Literal["none", "rgb"]

_STAGE_PX: Final = (TILE_PX // 8, TILE_PX // 4, TILE_PX // 2, TILE_PX)
"""Side of the maps after each of the four x2 stages."""

_IMAGE_MEAN: Final = (0.707223, 0.578729, 0.703617)
_IMAGE_STD: Final = (0.211883, 0.230117, 0.177517)
"""Mean and spread of H&E in 0..1, as H-optimus-0's card gives them. Fixed: they are part of the weights' meaning,
whichever encoder made the tokens."""

_HV_INITIAL_STD: Final = 0.01
"""Spread of the HV head's last weights at the start: vectors are near zero, the MSE near its baseline of 0.25."""


class HoVerNetDecoder(nn.Module):
    """Token grids (and the image) to NP, HV and NT maps at tile resolution.

    A 1x1 convolution joins the blocks; four stages of bilinear upsampling and two 3x3 convolutions reach 256 px; three
    light heads share this trunk, where the published HoVer-Net has three branches. With ``image_stem="rgb"`` a small
    convolutional pyramid on the image gives features at full, half (quarter, eighth) resolution, which join the
    stage of that resolution: a frozen ViT's grid alone cannot place borders. The defaults are the decoder of the
    original system, which has no such stem. A grid of another side than 16 is resized to 32 in the first stage.

    Args:
        dim: Width of a token.
        blocks: Number of token grids a tile.
        grid: Side of a token grid.
        widths: Channels at the token grid and after each of the four stages.
        dropout: Share of the channels dropped after the token projection.
        image_stem: Whether features of the image join.
        stem_widths: Channels of the stem at full, half, quarter and eighth resolution; two to four of them.

    Shapes:
        tokens: (b, blocks, g, g, dim), patch tokens only, any floating type.
        image: (b, 3, 256, 256), RGB in 0..255, uint8 or floating; None without a stem.
        returns: `HoverMaps` with h = w = 256.
    """

    def __init__(  # seven arguments: together they are the architecture, as checkpoints store it
        self,
        dim: int,
        *,
        blocks: int = 1,
        grid: int = 16,
        widths: Sequence[int] = (256, 128, 64, 64, 64),
        dropout: float = 0.1,
        image_stem: ImageStem = "none",
        stem_widths: Sequence[int] = (16, 32, 64, 64),
    ) -> None:
        super().__init__()
        self.token_shape = (blocks, grid, grid, dim)
        joined = tuple(stem_widths) if image_stem == "rgb" else ()
        extra = (0,) * (len(_STAGE_PX) - len(joined)) + joined[::-1]  # channels that join each stage, coarse to fine
        self.project = nn.Sequential(
            nn.Conv2d(blocks * dim, widths[0], 1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
        )
        self.stages = nn.ModuleList(
            nn.Sequential(_convolution(inner + beside, outer), _convolution(outer, outer))
            for inner, beside, outer in zip(widths[:-1], extra, widths[1:], strict=True)
        )
        self.stem = ImagePyramid(joined) if joined else None
        head_width = max(1, widths[-1] // 2)
        self.heads = _convolution(widths[-1], 3 * head_width)  # one convolution for three heads: the same, and faster
        self.np = nn.Conv2d(head_width, 2, 1)
        self.hv = nn.Conv2d(head_width, 2, 1)
        self.nt = nn.Conv2d(head_width, len(NucleusClass), 1)
        self._initialise()

    def _initialise(self) -> None:
        """He initialisation for the ReLUs; HV starts near zero."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.hv.weight, std=_HV_INITIAL_STD)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs; a third faster on CPUs

    @property
    def reads_image(self) -> bool:
        """True where `forward` needs the image."""
        return self.stem is not None

    def forward(
        self, tokens: Float[Tensor, "b blocks g g dim"], image: Num[Tensor, "b 3 256 256"] | None = None
    ) -> HoverMaps:
        """Maps of a batch of tiles.

        Raises:
            ContractError: Tokens or image have another shape, or the image is missing.
        """
        self._check(tokens, image)
        b, blocks, g, _, dim = tokens.shape
        grids = (
            tokens.permute(0, 2, 3, 1, 4).reshape(b, g, g, blocks * dim).permute(0, 3, 1, 2)
        )  # channels last in memory
        x = self.project(grids.float())  # (b, widths[0], g, g)
        beside = self.stem(image) if self.stem is not None else {}
        for px, stage in zip(_STAGE_PX, self.stages, strict=True):
            x = _resized(x, px)
            x = stage(torch.cat((x, beside[px]), dim=1) if px in beside else x)  # (b, widths[i], px, px)
        for_np, for_hv, for_nt = self.heads(x).chunk(3, dim=1)
        return HoverMaps(np=self.np(for_np), hv=self.hv(for_hv), nt=self.nt(for_nt))

    def _check(self, tokens: Tensor, image: Tensor | None) -> None:
        if tuple(tokens.shape[1:]) != self.token_shape:
            raise ContractError(
                f"decoder: tokens must be (b, blocks, g, g, dim) = (b, {', '.join(map(str, self.token_shape))}), "
                f"found {tuple(tokens.shape)}. Use the features that it was trained on, or train it again."
            )
        expected = (len(tokens), 3, TILE_PX, TILE_PX)
        if self.stem is not None and (image is None or tuple(image.shape) != expected):
            raise ContractError(
                f"decoder: has an image stem and needs the image {expected}, channels first, "
                f"found {'none' if image is None else tuple(image.shape)}."
            )


class ImagePyramid(nn.Module):
    """Features of an RGB image at full, half, quarter and eighth resolution, as many as there are widths.

    One convolution at full resolution, where each costs most; a convolution of stride 2 and another below.
    """

    mean: Float[Tensor, "1 3 1 1"]
    std: Float[Tensor, "1 3 1 1"]

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(_IMAGE_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(_IMAGE_STD).view(1, 3, 1, 1), persistent=False)
        self.full = _convolution(3, widths[0])
        self.coarser = nn.ModuleList(
            nn.Sequential(_convolution(inner, outer, stride=2), _convolution(outer, outer))
            for inner, outer in pairwise(widths)
        )

    def forward(self, image: Num[Tensor, "b 3 256 256"]) -> dict[int, Float[Tensor, "b c px px"]]:
        """Features by the side of their map in pixels."""
        x = self.full((image.to(self.mean.dtype) - self.mean) / self.std)
        features = {x.shape[-1]: x}
        for level in self.coarser:
            x = level(x)
            features[x.shape[-1]] = x
        return features


def _convolution(inside: int, outside: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
    )


def _resized(x: Float[Tensor, "b c h w"], px: int) -> Float[Tensor, "b c px px"]:
    """Bilinear; smoothed before where it shrinks (grids over 32)."""
    return F.interpolate(x, size=(px, px), mode="bilinear", align_corners=False, antialias=px < x.shape[-1])
