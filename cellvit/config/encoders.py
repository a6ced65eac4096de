"""Settings of the frozen encoder, and presets with the arguments its authors give."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, ValidationError, ValidatorFunctionWrapHandler, field_validator, model_validator

from cellvit.config.base import Section
from cellvit.config.views import GEOMETRIES, geometries_named

Rgb = tuple[float, float, float]
Band = tuple[float, float]

LARGEST_BATCH = 4096
"""Tiles a forward pass at most."""

IMAGENET_MEAN: Rgb = (0.485, 0.456, 0.406)
IMAGENET_STD: Rgb = (0.229, 0.224, 0.225)
OPTIMUS_MEAN: Rgb = (0.707223, 0.578729, 0.703617)
OPTIMUS_STD: Rgb = (0.211883, 0.230117, 0.177517)

UNTRAINED_BAND: Band = (0.6, 1.4)
"""CLS standard deviation of random weights: the final LayerNorm still has gain 1 and bias 0, so about 1."""

UNMEASURED_BAND: Band = (0.1, 5.0)
"""For encoders whose spread on PanNuke nobody has published: catches only tokens that are constant or unnormalised."""


class EncoderPreset(Section):
    """A timm encoder as its authors publish it."""

    name: str = Field(description="timm model name, or hf-hub:owner/name")
    architecture: str = Field(description="timm architecture that random weights and local files are loaded into")
    arguments: dict[str, Any] = Field(
        default_factory=dict,
        description="arguments of timm.create_model; layers by name (SwiGLUPacked, SiLU), img_size as the weights have it",
    )
    mean: Rgb
    std: Rgb
    depth: PositiveInt = Field(description="number of transformer blocks")
    dim: PositiveInt = Field(description="width of a token")
    patch_px: PositiveInt = Field(default=14, description="side of one patch")
    cls_std: Band = Field(description="band of the standard deviation over all CLS values of a fold")
    page: str | None = Field(default=None, description="page where access to the weights is asked for")
    licence: str = "see the page of the weights"


_GIANT = "vit_giant_patch14_reg4_dinov2"
_OPTIMUS_ARGUMENTS = {"img_size": 224, "init_values": 1e-5, "dynamic_img_size": False}
_SWIGLU_ARGUMENTS = {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU"}
"""Layers are named as in timm.layers or torch.nn."""

_H_OPTIMUS_0 = EncoderPreset(
    name="hf-hub:bioptimus/H-optimus-0",
    architecture=_GIANT,
    arguments=_OPTIMUS_ARGUMENTS,
    mean=OPTIMUS_MEAN,
    std=OPTIMUS_STD,
    depth=40,
    dim=1536,
    cls_std=(0.70, 0.90),
    page="https://huggingface.co/bioptimus/H-optimus-0",
    licence="Apache-2.0, behind a form",
)

PRESETS: dict[str, EncoderPreset] = {
    "h-optimus-0": _H_OPTIMUS_0,
    "h-optimus-1": _H_OPTIMUS_0.model_copy(
        update={
            "name": "hf-hub:bioptimus/H-optimus-1",
            "cls_std": UNMEASURED_BAND,
            "page": "https://huggingface.co/bioptimus/H-optimus-1",
            "licence": "non-commercial",
        }
    ),
    "h0-mini": EncoderPreset(
        name="hf-hub:bioptimus/H0-mini",
        architecture="vit_base_patch14_reg4_dinov2",
        arguments={**_OPTIMUS_ARGUMENTS, **_SWIGLU_ARGUMENTS, "mlp_ratio": 5.33334, "global_pool": ""},
        mean=OPTIMUS_MEAN,
        std=OPTIMUS_STD,
        depth=12,
        dim=768,
        cls_std=UNMEASURED_BAND,
        page="https://huggingface.co/bioptimus/H0-mini",
        licence="CC BY-NC-ND 4.0",
    ),
    "uni2-h": EncoderPreset(
        name="hf-hub:MahmoodLab/UNI2-h",
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
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        depth=24,
        dim=1536,
        cls_std=UNMEASURED_BAND,
        page="https://huggingface.co/MahmoodLab/UNI2-h",
        licence="CC BY-NC-ND 4.0",
    ),
    "virchow2": EncoderPreset(
        name="hf-hub:paige-ai/Virchow2",
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
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        depth=32,
        dim=1280,
        cls_std=UNMEASURED_BAND,
        page="https://huggingface.co/paige-ai/Virchow2",
        licence="CC BY-NC-ND 4.0",
    ),
    "tiny-vit": EncoderPreset(
        name=_GIANT,
        architecture=_GIANT,
        arguments={**_OPTIMUS_ARGUMENTS, "embed_dim": 96, "depth": 4, "num_heads": 3, "init_values": 1.0},
        mean=OPTIMUS_MEAN,
        std=OPTIMUS_STD,
        depth=4,
        dim=96,
        cls_std=UNTRAINED_BAND,
        licence="none: random weights",
    ),
}
"""Encoders by name (FACTS of each: its card). tiny-vit has H-optimus's token layout and no published weights."""

Preset = Literal["h-optimus-0", "h-optimus-1", "h0-mini", "uni2-h", "virchow2", "tiny-vit", "custom"]


class EncoderSettings(Section):
    """The frozen encoder."""

    preset: Preset = Field(
        default="h-optimus-0",
        description="a known encoder, or custom with encoder.custom",
    )
    weights: Annotated[str, Field(min_length=1)] = Field(
        default="hub",
        description="hub (downloaded or cached; HF_TOKEN and HF_HUB_OFFLINE are respected), random (from encoder.seed, "
        "marked untrained wherever its results appear), or a local .safetensors or .pth file or a folder that holds one",
    )
    seed: int = Field(default=0, ge=0, description="seed of random weights")
    custom: EncoderPreset | None = Field(
        default=None,
        description="any timm encoder: name, architecture, arguments, mean, std, depth, dim, patch_px, cls_std",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.preset == "custom") != (self.custom is not None):
            raise ValueError("encoder.custom is given exactly where encoder.preset is custom")
        if self.preset == "tiny-vit" and self.weights == "hub":
            raise ValueError("encoder.preset tiny-vit has no published weights; set encoder.weights: random")
        return self

    @property
    def untrained(self) -> bool:
        """True where the weights are random."""
        return self.weights == "random"

    @property
    def spec(self) -> EncoderPreset:
        """The preset, or the custom encoder."""
        return self.custom if self.custom is not None else PRESETS[self.preset]

    @property
    def cls_std(self) -> Band:
        """Band that the CLS standard deviation must lie in."""
        return UNTRAINED_BAND if self.untrained else self.spec.cls_std


class FeaturesSettings(Section):
    """How tiles reach the encoder and what is kept."""

    input_px: PositiveInt = Field(
        default=224, le=1024, description="side of the square the encoder sees; the whole tile is resized to it"
    )
    blocks: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        default=None,
        min_length=1,
        description="transformer blocks whose tokens are kept, counted from 0; null keeps the last",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="arithmetic of the encoder; auto is float16 autocast on a GPU and float32 on a CPU"
    )
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1, le=LARGEST_BATCH)] = Field(
        default="auto",
        description=f"tiles a forward pass, 1 to {LARGEST_BATCH}; auto takes as many as pay and fewer where memory runs out. "
        "A change of it recomputes nothing",
    )
    shards: PositiveInt = Field(
        default=1,
        le=1000,
        description="parts that a fold is extracted in, each by a job (and GPU) of its own. "
        "A change of it recomputes nothing that is kept",
    )

    views: tuple[str, ...] = Field(
        default=(GEOMETRIES[0],),
        min_length=1,
        description="flips and rotations of a tile that are extracted, each from the turned tile: identity first; "
        "dihedral8 is all eight. Extraction and store grow with their number",
    )
    colour_views: int = Field(
        default=0, ge=0, le=16, description="further views, of the upright tile in other stain colours (HED jitter)"
    )
    colour_sigma: float = Field(
        default=0.05,
        gt=0,
        le=0.5,
        description="strength of the stain jitter: each stain is scaled by 1 +- sigma and shifted by +- sigma "
        "(Tellez et al. 2019: light 0.05, strong 0.2)",
    )
    colour_seed: int = Field(default=0, ge=0, description="seed of the stain jitter")

    @property
    def n_views(self) -> int:
        """Forward passes a tile, and entries of the store's views axis."""
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
        if self.blocks is not None and list(self.blocks) != sorted(set(self.blocks)):
            raise ValueError(
                f"features.blocks={list(self.blocks)} must rise without repeats: {sorted(set(self.blocks))}"
            )
        return self


def check_fit(encoder: EncoderSettings, features: FeaturesSettings) -> None:
    """Raise ValueError, with the nearest valid values, where the features do not fit the encoder."""
    patch, depth = encoder.spec.patch_px, encoder.spec.depth
    if features.input_px % patch:
        low = features.input_px // patch * patch
        valid = ", ".join(str(side) for side in (low, low + patch) if side)
        raise ValueError(
            f"features.input_px={features.input_px} is not a multiple of the encoder's patch of {patch} px; "
            f"nearest valid values: {valid}"
        )
    beyond = [block for block in features.blocks or () if block >= depth]
    if beyond:
        raise ValueError(f"features.blocks={beyond}: the encoder has {depth} blocks, numbered 0 to {depth - 1}")
