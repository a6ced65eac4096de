"""Layers of the HoVer-Net decoder: projection of the tokens, features of the image, upsampling stages."""

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import pairwise
from typing import Final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor, nn

from cellvit.config.models import DecoderSettings, ImageNorm, TokenNorm, Upsampling

_IMAGE_MEAN: Final = (0.707223, 0.578729, 0.703617)
_IMAGE_STD: Final = (0.211883, 0.230117, 0.177517)
"""Mean and standard deviation of H&E on a scale of 0 to 1, from the model card of H-optimus-0. They are the same for
every encoder, because trained weights depend on them."""

_LEAST_STD: Final = 0.05 * 255
"""Smallest standard deviation that a tile's own colours are divided by. Stained tissue has 0.1 to 0.2 on a scale of 0 to 1; without
the limit, the noise of an empty tile would look like tissue."""


class TokenProjection(nn.Module):
    """Token grids of several blocks -> one map: the sum of a projection of each block.

    Each block has a 1x1 convolution and a BatchNorm of its own, so that blocks with tokens of different spread count
    equally at the start. ReLU and channel dropout follow the sum. Before the projection, tokens can be normalised
    (LayerNorm over the channels of each token, without parameters) and whole channels of a tile can be dropped.

    Args:
        dim, blocks: Width of a token, number of token grids of a tile.
        settings: `token_norm`, `token_dropout`, `dropout`; the map has `widths[0]` channels.

    Shapes:
        tokens: (b, blocks, g, g, dim), any floating type.
        returns: (b, widths[0], g, g).

    References:
        Ba et al. 2016, Layer Normalization, arXiv 1607.06450.
        Tompson et al. 2015, Efficient Object Localization, arXiv 1411.4280: dropout of whole channels.
    """

    def __init__(self, dim: int, blocks: int, settings: DecoderSettings) -> None:
        super().__init__()
        self.blocks = blocks
        self.token_norm: TokenNorm = settings.token_norm
        channels = blocks * settings.widths[0]
        self.token_dropout = nn.Dropout2d(settings.token_dropout)
        self.project = nn.Sequential(  # a group for each block
            nn.Conv2d(blocks * dim, channels, 1, groups=blocks, bias=False), nn.BatchNorm2d(channels)
        )
        self.dropout = nn.Dropout2d(settings.dropout)

    def forward(self, tokens: Float[Tensor, "b blocks g g dim"]) -> Float[Tensor, "b width g g"]:
        """The projected map of each tile."""
        tokens = tokens.float()
        if self.token_norm == "layer":
            tokens = F.layer_norm(tokens, tokens.shape[-1:])
        grids = tokens.permute(0, 2, 3, 1, 4).flatten(3)  # (b, g, g, blocks * dim)
        x = self.project(self.token_dropout(grids.permute(0, 3, 1, 2)))  # (b, blocks * width, g, g), channels last
        x = reduce(torch.add, x.chunk(self.blocks, dim=1))  # (b, width, g, g)
        dropped: Float[Tensor, "b width g g"] = self.dropout(F.relu(x))
        return dropped


class ImagePyramid(nn.Module):
    """Features of an RGB image at full, half, quarter and eighth resolution; one level for each width.

    One convolution at full resolution, where convolutions cost most; at each lower level one of stride 2 and another one.
    With `residual`, the input of such a level, averaged over 2 x 2 pixels and passed through a 1x1 convolution, is added to
    its output (He et al. 2019, Bag of Tricks, arXiv 1812.01187, ResNet-D).

    The colours are scaled by the mean and standard deviation of H&E, or with ``norm="tile"`` by those of the pixels of the tile,
    for each channel. Then a stain or a scanner that makes a channel darker, paler or weaker throughout changes nothing.

    Shapes:
        image: (b, 3, 256, 256), RGB in 0..255.
        returns: Maps (b, width, px, px) by their side px: 256, 128, 64, 32.
    """

    mean: Float[Tensor, "1 3 1 1"]
    std: Float[Tensor, "1 3 1 1"]

    def __init__(self, widths: Sequence[int], *, residual: bool = False, norm: ImageNorm = "fixed") -> None:
        super().__init__()
        self.norm: ImageNorm = norm
        self.register_buffer("mean", 255 * torch.tensor(_IMAGE_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(_IMAGE_STD).view(1, 3, 1, 1), persistent=False)
        self.full = convolution(3, widths[0])
        level = _Residual if residual else _plain
        self.coarser = nn.ModuleList(level(inner, outer) for inner, outer in pairwise(widths))

    def forward(self, image: Num[Tensor, "b 3 256 256"]) -> dict[int, Float[Tensor, "b c px px"]]:
        """Features by the side of their map in pixels."""
        x = self.full(self._scaled(image.to(self.mean.dtype)))
        features = {x.shape[-1]: x}
        for level in self.coarser:
            x = level(x)
            features[x.shape[-1]] = x
        return features

    def _scaled(self, image: Float[Tensor, "b 3 256 256"]) -> Float[Tensor, "b 3 256 256"]:
        mean, std = self.mean, self.std
        if self.norm == "tile":
            variance, mean = torch.var_mean(image, dim=(2, 3), keepdim=True, correction=0)
            std = variance.sqrt().clamp(min=_LEAST_STD)
        return (image - mean) / std


class UpsamplingStage(nn.Module):
    """A map -> the map with a side of `px`: upsampling, features of the image of that side, two 3x3 convolutions.

    With pixel shuffle, a 1x1 convolution computes the four pixels of each cell (Shi et al. 2016, arXiv 1609.05158). At
    first the four are equal, as in nearest-neighbour upsampling, which prevents a checkerboard pattern (Aitken et al.
    2017, arXiv 1707.02937).

    Args:
        px: Side of the output, twice that of the input for pixel shuffle.
        inner, added, outer: Channels of the input, of the image's features, and of the output.

    Shapes:
        x: (b, inner, side, side).
        of_image: Features by side, as `ImagePyramid` returns them.
        returns: (b, outer, px, px).
    """

    def __init__(self, px: int, inner: int, added: int, outer: int, *, upsampling: Upsampling) -> None:
        super().__init__()
        self.px = px
        self.pixels = nn.Conv2d(inner, 4 * outer, 1, bias=False) if upsampling == "pixel_shuffle" else None
        inside = inner if self.pixels is None else outer
        self.convolutions = nn.Sequential(convolution(inside + added, outer), convolution(outer, outer))

    def forward(self, x: Float[Tensor, "b i s s"], of_image: Mapping[int, Tensor]) -> Float[Tensor, "b o px px"]:
        """The upsampled map."""
        x = self.upsampled(x)
        if self.px in of_image:
            if x.requires_grad:
                x.register_hook(_without_gaps)
            x = torch.cat((x, of_image[self.px]), dim=1)
        stage: Float[Tensor, "b o px px"] = self.convolutions(x)
        return stage

    def upsampled(self, x: Float[Tensor, "b i s s"]) -> Float[Tensor, "b c px px"]:
        """The map with a side of `px`, before the convolutions."""
        if self.pixels is not None:
            return F.pixel_shuffle(self.pixels(x), 2)
        # antialiased if the map becomes smaller (grids over 32)
        smaller = self.px < x.shape[-1]
        return F.interpolate(x, size=(self.px, self.px), mode="bilinear", align_corners=False, antialias=smaller)

    def start_as_nearest(self) -> None:
        """Make the four pixels that a pixel shuffle computes from a cell equal."""
        if self.pixels is not None:
            weight = self.pixels.weight.detach()  # the pixels of output channel c are the channels 4 c to 4 c + 3
            weight.copy_(weight[::4].repeat_interleave(4, dim=0))


class UpsamplingPath(nn.ModuleList):
    """`UpsamplingStage`s in order; without any, the map as it is."""

    def forward(self, x: Float[Tensor, "b i s s"], of_image: Mapping[int, Tensor]) -> Float[Tensor, "b o px px"]:
        """The map after the last stage."""
        for stage in self:
            x = stage(x, of_image)
        return x


class _Residual(nn.Module):
    """Half the resolution: two 3x3 convolutions, and a shortcut around them."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            convolution(inside, outside, stride=2),
            nn.Conv2d(outside, outside, 3, padding=1, bias=False),
            nn.BatchNorm2d(outside),
        )
        # torch 2.13 writes outside its memory in the backward pass of a 1x1 convolution of stride 2 (CPU, channels last,
        # fewer than 16 channels)
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2), nn.Conv2d(inside, outside, 1, bias=False), nn.BatchNorm2d(outside)
        )

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h/2 w/2"]:
        return F.relu(self.convolutions(x) + self.shortcut(x))


def _plain(inside: int, outside: int) -> nn.Sequential:
    """Half the resolution: two 3x3 convolutions."""
    return nn.Sequential(convolution(inside, outside, stride=2), convolution(outside, outside))


def _without_gaps(gradient: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """The same values, channels last without gaps.

    The gradient of a part of `torch.cat` is a view with gaps, for which torch 2.13 goes back through a bilinear upsampling
    six times as slowly (CPU).
    """
    return gradient.contiguous(memory_format=torch.channels_last)


def convolution(inside: int, outside: int, *, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, BatchNorm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
    )
