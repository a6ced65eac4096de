"""Settings of the frozen encoder, and presets with the arguments that the authors of each encoder give."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from cellvit.config.base import Section
from cellvit.config.views import GEOMETRIES, geometries_named

Rgb = tuple[float, float, float]
Band = tuple[float, float]

LARGEST_BATCH = 4096
"""Most tiles in a forward pass."""

UNTRAINED_BAND: Band = (0.6, 1.4)
"""CLS standard deviation of random weights: the final LayerNorm still has gain 1 and bias 0, so about 1."""

UNMEASURED_BAND: Band = (0.1, 5.0)
"""For encoders without a published spread on PanNuke: detects only tokens that are constant or not normalised."""


class EncoderPreset(Section):
    """A timm encoder as its authors publish it."""

    name: str = Field(description="timm model name, or hf-hub:owner/name")
    architecture: str = Field(description="timm architecture for random weights and local files")
    arguments: dict[str, Any] = Field(
        default_factory=dict,
        description="arguments of timm.create_model; layers by name (SwiGLUPacked, SiLU), img_size as in the weights",
    )
    mean: Rgb = Field(description="mean of the images in red, green and blue, on a scale of 0 to 1")
    std: Rgb = Field(description="standard deviation of the images, likewise")
    depth: PositiveInt = Field(description="number of transformer blocks")
    dim: PositiveInt = Field(description="width of a token")
    patch_px: PositiveInt = Field(default=14, description="side of one patch")
    cls_std: Band = Field(description="lowest and highest plausible standard deviation of all CLS values of a fold")
    page: str | None = Field(default=None, description="page where access to the weights is requested")
    licence: str = Field(default="see the page of the weights", description="licence of the weights")


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
weights."""

Preset = Literal["h-optimus-0", "h-optimus-1", "h0-mini", "uni2-h", "virchow2", "tiny-vit", "custom"]


class EncoderSettings(Section):
    """The frozen encoder."""

    preset: Preset = Field(default="h-optimus-0", description="a known encoder, or custom with encoder.custom")
    weights: Annotated[str, Field(min_length=1)] = Field(
        default="hub",
        description="hub (downloaded or cached; HF_TOKEN and HF_HUB_OFFLINE are respected), random (from encoder.seed; "
        "all results are then marked untrained), or a local .safetensors or .pth file, or a folder with one such file",
    )
    seed: int = Field(default=0, ge=0, description="seed of random weights")
    custom: EncoderPreset | None = Field(
        default=None,
        description="any timm encoder: name, architecture, arguments, mean, std, depth, dim, patch_px, cls_std",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.preset == "custom") != (self.custom is not None):
            raise ValueError("encoder.preset: custom and encoder.custom belong together; set both or neither")
        if self.preset == "tiny-vit" and self.weights == "hub":
            raise ValueError("encoder.preset tiny-vit has no published weights; set encoder.weights: random")
        return self

    @property
    def untrained(self) -> bool:
        """True if the weights are random."""
        return self.weights == "random"

    @property
    def spec(self) -> EncoderPreset:
        """The preset, or the custom encoder."""
        return self.custom if self.custom is not None else PRESETS[self.preset]

    @property
    def cls_std(self) -> Band:
        """Lowest and highest standard deviation that the CLS values may have."""
        return UNTRAINED_BAND if self.untrained else self.spec.cls_std


class FeaturesSettings(Section):
    """How tiles are given to the encoder, and which of its tokens are stored."""

    input_px: PositiveInt = Field(default=224, le=1024, description="side to which a tile is resized for the encoder")
    blocks: tuple[NonNegativeInt, ...] | None = Field(
        default=None,
        min_length=1,
        description="transformer blocks whose tokens are stored, counted from 0; null: the last block",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="arithmetic of the encoder; auto: float16 autocast on a GPU, float32 on a CPU"
    )
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1, le=LARGEST_BATCH)] = Field(
        default="auto",
        description=f"tiles in a forward pass, 1 to {LARGEST_BATCH}; auto: the largest efficient batch, or a smaller one "
        "if memory runs out. A change of this setting extracts nothing again",
    )
    views: tuple[str, ...] = Field(
        default=GEOMETRIES,
        min_length=1,
        description="flips and rotations of a tile from which features are extracted, identity first; dihedral8 means all "
        "eight. Training samples one of them for each tile (training.views). The time of the extraction and the size of the "
        "store grow with their number: [identity] where the disk is too small",
    )
    colour_views: int = Field(
        default=0, ge=0, le=16, description="further views: the identity view in other stain colours (HED jitter)"
    )
    colour_sigma: float = Field(
        default=0.05,
        gt=0,
        le=0.5,
        description="strength of the stain jitter: each stain is scaled by up to 1 +- sigma and shifted by up to +- sigma "
        "(Tellez et al. 2019: light 0.05, strong 0.2)",
    )
    colour_seed: int = Field(default=0, ge=0, description="seed of the stain jitter")

    @property
    def n_views(self) -> int:
        """Number of views of each tile: forward passes, and length of the views axis of the store."""
        return len(self.views) + self.colour_views

    def stored_blocks(self, depth: int) -> tuple[int, ...]:
        """Blocks whose tokens are stored, of an encoder with `depth` blocks."""
        return self.blocks or (depth - 1,)

    @field_validator("batch_size", mode="wrap")
    @classmethod
    def _auto_or_a_number(cls, given: object, check: ValidatorFunctionWrapHandler) -> object:
        try:
            return check(given)
        except ValidationError:
            raise ValueError(f"must be auto or a number from 1 to {LARGEST_BATCH}, found {given!r}") from None

    @field_validator("views")
    @classmethod
    def _each_view_by_name(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(GEOMETRIES[geometry] for geometry in geometries_named(names))

    @model_validator(mode="after")
    def _increasing(self) -> Self:
        increasing = sorted(set(self.blocks or ()))
        if self.blocks is not None and list(self.blocks) != increasing:
            raise ValueError(f"features.blocks={list(self.blocks)} must increase without repeats: {increasing}")
        return self


def check_fit(encoder: EncoderSettings, features: FeaturesSettings) -> None:
    """Raise ValueError if the input size is not a multiple of the patch, or the encoder has no such block."""
    patch, depth = encoder.spec.patch_px, encoder.spec.depth
    if features.input_px % patch:
        low = features.input_px // patch * patch
        valid = ", ".join(str(side) for side in (low, low + patch) if side)
        raise ValueError(
            f"features.input_px={features.input_px} is not a multiple of the patch of the encoder, {patch} px; "
            f"nearest valid values: {valid}"
        )
    beyond = [block for block in features.blocks or () if block >= depth]
    if beyond:
        raise ValueError(f"features.blocks={beyond}: the encoder has {depth} blocks, numbered 0 to {depth - 1}")
