"""HoVer-Net decoder: token grids of a frozen ViT, and the image -> NP, HV and NT maps.

References:
    Graham et al. 2019, HoVer-Net, arXiv 1812.06499: the three maps.
    Ronneberger et al. 2015, U-Net, arXiv 1505.04597: features of the image in the upsampling path.
"""

from typing import Any, Final, NamedTuple

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from cellvit.config.models import DecoderSettings
from cellvit.errors import ContractError
from cellvit.models.decoder_layers import ImagePyramid, TokenProjection, UpsamplingPath, UpsamplingStage, convolution
from cellvit.taxonomy import NUCLEUS_CLASSES, TILE_PX

_STAGE_PX: Final = (TILE_PX // 8, TILE_PX // 4, TILE_PX // 2, TILE_PX)
"""Side of the maps after each of the four x2 stages."""

_SHARED_STAGES: Final = 2
"""Stages that three branches share: those to 64 px."""

_HV_INITIAL_STD: Final = 0.01
"""Initial standard deviation of the last weights of HV: the vectors start near zero, and the MSE near its baseline of
0.25."""


class HoverMaps(NamedTuple):
    """Raw output of a HoVer-Net decoder at tile resolution.

    Attributes:
        np: Logits of background and nucleus.
        hv: Horizontal (right +) and vertical (down +) distance to the centre of mass, about -1..1.
        nt: Logits of the classes of the data set, background first.
    """

    np: Float[Tensor, "b 2 h w"]
    hv: Float[Tensor, "b 2 h w"]
    nt: Float[Tensor, "b c h w"]


class HoVerNetDecoder(nn.Module):
    """Token grids (and the image) -> NP, HV and NT maps at tile resolution.

    The blocks are projected and summed; four stages of upsampling and two 3x3 convolutions reach 256 px; three light heads
    give the maps. With an image stem, a small convolutional pyramid computes features of the image at full, half (quarter,
    eighth) resolution, which are concatenated to the input of the stage of that resolution: the token grid of a frozen ViT
    alone does not show where borders are.

    Departures from the published HoVer-Net: the encoder is a frozen ViT; the stages have plain convolutions instead of
    dense blocks; the maps have the size of the tile. By default the three heads share one trunk; with
    ``trunk="branches"``, NP, HV and NT have stages of their own from 64 px on. By default upsampling is bilinear, in the
    first stage always, because it resizes a grid of any side to 32 x 32. Departure from the original system: the image
    stem (``image_stem="none"`` is its decoder).

    Args:
        dim, blocks, grid: Width of a token, number of token grids of a tile, side of a grid.
        n_classes: Nuclear classes of the data set; PanNuke's five by default.
        options: Settings of `cellvit.config.models.DecoderSettings` by name, except `blocks`; defaults and limits are
            those of the settings.

    Shapes:
        tokens: (b, blocks, g, g, dim), patch tokens only, any floating type.
        image: (b, 3, 256, 256), RGB in 0..255, uint8 or floating; None without a stem.
        returns: `HoverMaps`: np (b, 2, 256, 256), hv (b, 2, 256, 256), nt (b, n_classes + 1, 256, 256).

    Raises:
        pydantic.ValidationError: An option is unknown, or its value is outside the limits.
    """

    def __init__(
        self, dim: int, *, blocks: int = 1, grid: int = 16, n_classes: int = len(NUCLEUS_CLASSES), **options: Any
    ) -> None:
        super().__init__()
        settings = DecoderSettings(**options)
        self.token_shape = (blocks, grid, grid, dim)
        self.project = TokenProjection(dim, blocks, settings)
        n, shared = (3, _SHARED_STAGES) if settings.trunk == "branches" else (1, len(_STAGE_PX))
        self.trunk = _stages(settings, 0, shared)
        self.stem = _stem(settings)
        self.branches = nn.ModuleList(_stages(settings, shared, len(_STAGE_PX)) for _ in range(n))
        width = settings.widths[-1]
        head_width = max(1, width // 2)
        # one convolution for all heads of a trunk is faster than three
        self.heads = nn.ModuleList(convolution(width, 3 * head_width // n) for _ in range(n))
        self.np = nn.Conv2d(head_width, 2, 1)
        self.hv = nn.Conv2d(head_width, 2, 1)
        self.nt = nn.Conv2d(head_width, n_classes + 1, 1)
        self._initialise()

    def _initialise(self) -> None:
        """He initialisation for the ReLUs; the HV map starts near zero."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, UpsamplingStage):
                module.start_as_nearest()
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
        of_image = self.stem(image) if self.stem is not None else {}
        x = self.trunk(self.project(tokens), of_image)
        parts: list[Tensor] = []  # (b, head_width, 256, 256) for each of NP, HV and NT
        for branch, head in zip(self.branches, self.heads, strict=True):
            parts += head(branch(x, of_image)).chunk(3 // len(self.heads), dim=1)
        for_np, for_hv, for_nt = parts
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


def _stages(settings: DecoderSettings, first: int, end: int) -> UpsamplingPath:
    """Stages `first` to `end` - 1 of the four."""
    added = dict(zip(reversed(_STAGE_PX), _stem_widths(settings), strict=False))
    path = UpsamplingPath()
    for number in range(first, end):
        px, (inner, outer) = _STAGE_PX[number], settings.widths[number : number + 2]
        upsampling = settings.upsampling if number else "bilinear"
        path.append(UpsamplingStage(px, inner, added.get(px, 0), outer, upsampling=upsampling))
    return path


def _stem(settings: DecoderSettings) -> ImagePyramid | None:
    widths, residual = _stem_widths(settings), settings.image_stem == "rgb_residual"
    return ImagePyramid(widths, residual=residual, norm=settings.image_norm) if widths else None


def _stem_widths(settings: DecoderSettings) -> tuple[int, ...]:
    """Channels of the image's features, fine to coarse; none without a stem."""
    return () if settings.image_stem == "none" else settings.stem_widths
