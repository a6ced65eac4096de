"""Settings of the frozen encoder, and of the features that are stored."""

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from cellvit.config.base import PathText, Section
from cellvit.config.presets import PRESETS, UNTRAINED_BAND, Band, EncoderPreset
from cellvit.config.views import GEOMETRIES, geometries_named

PUBLISHED = "published"
"""Setting of `encoder.weights`: the weights that the authors of the encoder publish."""

RANDOM = "random"
"""Setting of `encoder.weights`: random weights, which nobody has trained."""

LARGEST_BATCH = 4096
"""Most tiles in a forward pass."""

Preset = Literal[
    "h-optimus-0", "h-optimus-1", "h0-mini", "uni2-h", "virchow2", "efficientnet-lite0", "tiny-vit", "custom"
]


class EncoderSettings(Section):
    """The frozen encoder."""

    preset: Preset = Field(default="h-optimus-0", description="a known encoder, or custom with encoder.custom")
    weights: PathText = Field(
        default=PUBLISHED,
        description="published (from the Hugging Face hub or its cache, where HF_TOKEN and HF_HUB_OFFLINE are respected; "
        "for efficientnet-lite0 from an installed package), random (from encoder.seed; all results are then marked "
        "untrained), or a local .safetensors or .pth file, or a folder with one such file",
    )
    seed: int = Field(default=0, ge=0, description="seed of random weights")
    custom: EncoderPreset | None = Field(
        default=None,
        description="any timm encoder: name, architecture, arguments, mean, std, patch_px, cls_std; depth and dim of a "
        "vision transformer, or levels of any other model",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.preset == "custom") != (self.custom is not None):
            raise ValueError("encoder.preset: custom and encoder.custom belong together; set both or neither")
        if self.preset == "tiny-vit" and self.weights == PUBLISHED:
            raise ValueError("encoder.preset tiny-vit has no published weights; set encoder.weights: random")
        return self

    @property
    def untrained(self) -> bool:
        """True if the weights are random."""
        return self.weights == RANDOM

    @property
    def mark(self) -> str:
        """What must be shown beside every result of these weights; empty if they are, or may be, of pathology."""
        if self.untrained:
            return "untrained encoder"
        return (
            f"encoder trained on {self.spec.trained_on}" if self.spec.trained_on and self.weights == PUBLISHED else ""
        )

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
        description="transformer blocks whose tokens are stored, counted from 0; null: the last block. Of an encoder that is "
        "not a vision transformer: its levels; null: those of stride 8, 16 and 32",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="arithmetic of the encoder; auto: float16 autocast on an NVIDIA GPU, else float32"
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
        default=0,
        ge=0,
        le=16,
        description="further views in other stain colours (HED jitter), each in the next orientation of features.views",
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
    """Raise ValueError if the encoder has no such block or level, or the input size is not a multiple of patch and strides."""
    spec = encoder.spec
    kind = "levels" if spec.levels else "blocks"
    beyond = [block for block in features.blocks or () if block >= spec.n_blocks]
    if beyond:
        raise ValueError(
            f"features.blocks={beyond}: the encoder has {spec.n_blocks} {kind}, numbered 0 to {spec.n_blocks - 1}"
        )
    step = spec.input_step_px(features.blocks)
    if features.input_px % step:
        low = features.input_px // step * step
        valid = ", ".join(str(side) for side in (low, low + step) if side)
        of = "patch" if step == spec.patch_px else "coarsest level"
        raise ValueError(
            f"features.input_px={features.input_px} is not a multiple of the {of} of the encoder, {step} px; "
            f"nearest valid values: {valid}"
        )
