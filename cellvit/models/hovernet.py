"""HoVer-Net decoder: token grids of a frozen ViT, and the image -> NP, HV and NT maps.

References:
    Graham et al. 2019, HoVer-Net, arXiv 1812.06499: the three maps.
    Ronneberger et al. 2015, U-Net, arXiv 1505.04597: features of the image in the upsampling path.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor, nn

from cellvit.config.models import DecoderSettings, ImageStem
from cellvit.errors import ContractError
from cellvit.taxonomy import TILE_PX, NucleusClass

_DEFAULTS: Final = DecoderSettings()

_STAGE_PX: Final = (TILE_PX // 8, TILE_PX // 4, TILE_PX // 2, TILE_PX)
"""Side of the maps after each of the four x2 stages."""

_IMAGE_MEAN: Final = (0.707223, 0.578729, 0.703617)
_IMAGE_STD: Final = (0.211883, 0.230117, 0.177517)
"""Mean and standard deviation of H&E on a scale of 0 to 1, from the model card of H-optimus-0. They are the same for
every encoder, because trained weights depend on them."""

_HV_INITIAL_STD: Final = 0.01
"""Initial standard deviation of the last weights of HV: the vectors start near zero, and the MSE near its baseline of
0.25."""


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


class HoVerNetDecoder(nn.Module):
    """Token grids (and the image) -> NP, HV and NT maps at tile resolution.

    A 1x1 convolution combines the blocks; four stages of bilinear upsampling and two 3x3 convolutions reach 256 px; three
    light heads give the maps. With ``image_stem="rgb"``, a small convolutional pyramid computes features of the image at
    full, half (quarter, eighth) resolution, which are concatenated to the input of the stage of that resolution: the
    token grid of a frozen ViT alone does not show where borders are.

    Departures from the published HoVer-Net: the encoder is a frozen ViT; the three heads share one trunk instead of three
    branches; the stages have plain convolutions instead of dense blocks; upsampling is bilinear; the maps have the size of
    the tile. Departure from the original system: the image stem (``image_stem="none"`` is its decoder). Every grid is
    resized to 32 x 32 in the first stage, also if its side is not 16.

    Args:
        dim, blocks, grid: Width of a token, number of token grids of a tile, side of a grid.
        widths, dropout, image_stem, stem_widths: As in `cellvit.config.models.DecoderSettings`.

    Shapes:
        tokens: (b, blocks, g, g, dim), patch tokens only, any floating type.
        image: (b, 3, 256, 256), RGB in 0..255, uint8 or floating; None without a stem.
        returns: `HoverMaps`: np (b, 2, 256, 256), hv (b, 2, 256, 256), nt (b, 6, 256, 256).
    """

    def __init__(  # seven arguments: they are the architecture that a checkpoint stores
        self,
        dim: int,
        *,
        blocks: int = 1,
        grid: int = 16,
        widths: Sequence[int] = _DEFAULTS.widths,
        dropout: float = _DEFAULTS.dropout,
        image_stem: ImageStem = _DEFAULTS.image_stem,
        stem_widths: Sequence[int] = _DEFAULTS.stem_widths,
    ) -> None:
        super().__init__()
        self.token_shape = (blocks, grid, grid, dim)
        joined = tuple(stem_widths) if image_stem == "rgb" else ()
        extra = (0,) * (len(_STAGE_PX) - len(joined)) + joined[::-1]  # image channels of each stage, coarse to fine
        self.project = nn.Sequential(
            nn.Conv2d(blocks * dim, widths[0], 1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
        )
        self.stages = nn.ModuleList(
            nn.Sequential(_convolution(inner + added, outer), _convolution(outer, outer))
            for inner, added, outer in zip(widths[:-1], extra, widths[1:], strict=True)
        )
        self.stem = ImagePyramid(joined) if joined else None
        head_width = max(1, widths[-1] // 2)
        self.heads = _convolution(widths[-1], 3 * head_width)  # one convolution for all heads is faster than three
        self.np = nn.Conv2d(head_width, 2, 1)
        self.hv = nn.Conv2d(head_width, 2, 1)
        self.nt = nn.Conv2d(head_width, len(NucleusClass), 1)
        self._initialise()

    def _initialise(self) -> None:
        """He initialisation for the ReLUs; the HV map starts near zero."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.hv.weight, std=_HV_INITIAL_STD)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs; a third faster on CPUs

    @property
    def reads_image(self) -> bool:
        """True if `forward` needs the image."""
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
        channels_last = tokens.permute(0, 2, 3, 1, 4).reshape(b, g, g, blocks * dim)
        grids = channels_last.permute(0, 3, 1, 2)  # (b, blocks * dim, g, g), channels last in memory
        x = self.project(grids.float())  # (b, widths[0], g, g)
        of_image = self.stem(image) if self.stem is not None else {}
        for px, stage in zip(_STAGE_PX, self.stages, strict=True):
            # antialiased if the map becomes smaller (grids over 32)
            x = F.interpolate(x, size=(px, px), mode="bilinear", align_corners=False, antialias=px < x.shape[-1])
            x = stage(torch.cat((x, of_image[px]), dim=1) if px in of_image else x)  # (b, widths[i], px, px)
        for_np, for_hv, for_nt = self.heads(x).chunk(3, dim=1)
        return HoverMaps(np=self.np(for_np), hv=self.hv(for_hv), nt=self.nt(for_nt))

    def _check(self, tokens: Tensor, image: Tensor | None) -> None:
        if tuple(tokens.shape[1:]) != self.token_shape:
            raise ContractError(
                f"decoder: tokens must be (b, blocks, g, g, dim) = (b, {', '.join(map(str, self.token_shape))}), "
                f"found {tuple(tokens.shape)}. Fix: use features as in its training, or train it again."
            )
        expected = (len(tokens), 3, TILE_PX, TILE_PX)
        if self.stem is not None and (image is None or tuple(image.shape) != expected):
            raise ContractError(
                f"decoder: its image stem needs the image {expected}, channels first, "
                f"found {'none' if image is None else tuple(image.shape)}."
            )


class ImagePyramid(nn.Module):
    """Features of an RGB image at full, half, quarter and eighth resolution; one level for each width.

    One convolution at full resolution, where convolutions cost most; at each lower level one of stride 2 and another one.

    Shapes:
        image: (b, 3, 256, 256), RGB in 0..255.
        returns: Maps (b, width, px, px) by their side px: 256, 128, 64, 32.
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
