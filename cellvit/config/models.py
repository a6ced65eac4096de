"""Settings of OrganHead, the HoVer-Net decoder and their training."""

from typing import Final, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from cellvit.config.base import PathText, Section

TokenNorm = Literal["none", "layer"]
ImageStem = Literal["none", "rgb", "rgb_residual"]
ImageNorm = Literal["fixed", "tile"]
Trunk = Literal["shared", "branches"]
Upsampling = Literal["bilinear", "pixel_shuffle"]
Precision = Literal["auto", "fastest", "float32", "bfloat16"]


SCRATCH: Final = "scratch"
"""Setting of `training.start_from`: random weights."""

SHARED: Final = "shared"
"""Setting of `training.start_from`: the shared decoder of the same split."""


class OrganHeadSettings(Section):
    """OrganHead: the organ of a tile from its CLS token."""

    hidden: PositiveInt = Field(default=256, description="width of the hidden layer")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="dropout before the last layer")
    learning_rate: PositiveFloat = Field(default=1e-3, description="learning rate of AdamW")
    weight_decay: NonNegativeFloat = Field(default=1e-2, description="weight decay of AdamW")
    batch_size: PositiveInt = Field(default=64, description="tiles per training step")
    epochs: PositiveInt = Field(default=50, description="passes over the training folds")
    label_smoothing: float = Field(default=0.1, ge=0, lt=1, description="label smoothing of the cross-entropy")
    class_weights: bool = Field(default=True, description="weight the organs by the inverse of their frequency")

    def n_steps(self, n_tiles: int) -> int:
        """Optimizer steps of a training on `n_tiles` tiles: whole epochs.

        Examples:
            >>> OrganHeadSettings(epochs=50, batch_size=64).n_steps(130)
            150
        """
        return self.epochs * -(-n_tiles // self.batch_size)


class DecoderSettings(Section):
    """HoVer-Net decoder: token grids (and the image) -> NP, HV and NT maps."""

    blocks: tuple[NonNegativeInt, ...] | None = Field(
        default=None, min_length=1, description="blocks whose tokens the decoder reads; null: all of features.blocks"
    )
    token_norm: TokenNorm = Field(
        default="none",
        description="layer: the channels of each token are normalised to mean 0 and variance 1 before the projection "
        "(LayerNorm without parameters); none: the tokens are read as the encoder gives them",
    )
    token_dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the token channels that are dropped for a whole tile in training, before the projection",
    )
    widths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt, PositiveInt] = Field(
        default=(256, 128, 64, 64, 64),
        description="channels at the token grid and after each of the four x2 stages; the last, at full resolution, costs "
        "most: with 32 the default decoder takes half the operations",
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="channel dropout after the token projection")
    image_stem: ImageStem = Field(
        default="rgb",
        description="rgb: features of the image join the upsampling path (the tokens of a frozen ViT alone do not show "
        "where borders are); rgb_residual: the same from residual blocks; none: the decoder of the original system",
    )
    image_norm: ImageNorm = Field(
        default="fixed",
        description="what the colours of the image are scaled by. fixed: mean and standard deviation of H&E, the same for every "
        "tile; tile: those of the tile itself, so that stains and scanners of other laboratories look alike (docs/decoder.md)",
    )
    stem_widths: tuple[PositiveInt, ...] = Field(
        default=(16, 32, 64, 64),
        min_length=2,
        max_length=4,
        description="channels of the image's features at full, half, quarter and eighth resolution; at least the first two",
    )
    trunk: Trunk = Field(
        default="shared",
        description="shared: NP, HV and NT share all stages and have a light head each; branches: they have stages of "
        "their own from 64 px on, as in HoVer-Net",
    )
    upsampling: Upsampling = Field(
        default="bilinear",
        description="how each stage doubles the resolution; pixel_shuffle: by a convolution that computes the four pixels of "
        "a cell, from 32 px on",
    )

    @field_validator("blocks")
    @classmethod
    def _each_block_once(cls, blocks: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if blocks is not None and len(set(blocks)) < len(blocks):
            raise ValueError(f"a block is listed twice in {list(blocks)}")
        return blocks


class LossSettings(Section):
    """The loss: total = np_weight * NP + hv_weight * HV + nt_weight * NT."""

    np_weight: NonNegativeFloat = Field(default=1.0, description="weight of NP (cross-entropy + Dice)")
    hv_weight: NonNegativeFloat = Field(default=2.0, description="weight of HV (regression + gradient + magnitude)")
    nt_weight: NonNegativeFloat = Field(default=1.0, description="weight of NT (cross-entropy)")
    hv_regression_weight: NonNegativeFloat = Field(default=1.0, description="weight of the masked regression inside HV")
    hv_gradient_weight: NonNegativeFloat = Field(default=2.0, description="weight of the masked gradient inside HV")
    hv_magnitude_weight: NonNegativeFloat = Field(default=1.0, description="weight of the magnitude term inside HV")
    regression: Literal["mse", "smooth_l1"] = Field(default="mse", description="form of the masked regression")
    weighting: Literal["fixed", "adaptive"] = Field(
        default="fixed",
        description="fixed: the weights above; adaptive: learned weights that start from them (Kendall et al. 2018)",
    )
    class_weights: bool = Field(default=True, description="weight the NT classes by 1 / sqrt(frequency)")

    @model_validator(mode="after")
    def _something_is_trained(self) -> Self:
        branches = ("np_weight", "hv_weight", "nt_weight")
        if not any(getattr(self, name) for name in branches):
            raise ValueError(f"{', '.join(branches)} are all 0, and nothing would be trained; raise one of them")
        hv_parts = ("hv_regression_weight", "hv_gradient_weight", "hv_magnitude_weight")
        if self.hv_weight and not any(getattr(self, name) for name in hv_parts):
            raise ValueError(
                f"{', '.join(hv_parts)} are all 0, and HV would not be trained; raise one, or set hv_weight: 0"
            )
        return self


class TrainingSettings(Section):
    """Training of the decoders, counted in optimizer steps."""

    steps: NonNegativeInt | None = Field(
        default=None,
        description="optimizer steps of every decoder; null: training.epochs passes over the training folds, but at least "
        "training.min_steps; 0: none, the decoders of training.start_from are tuned and evaluated as they are",
    )
    epochs: PositiveInt = Field(default=50, description="passes over the training folds where training.steps is null")
    min_steps: NonNegativeInt = Field(
        default=2000,
        description="fewest steps where training.steps is null; without it, a small family has too few steps to learn "
        "(docs/training.md)",
    )
    batch_size: PositiveInt = Field(default=16, le=1024, description="tiles per training step")
    learning_rate: PositiveFloat = Field(default=1e-4, description="peak learning rate of AdamW")
    weight_decay: NonNegativeFloat = Field(default=1e-2, description="weight decay of AdamW")
    warmup: float = Field(
        default=0.05, ge=0, lt=1, description="share of the steps in the warm-up, before cosine decay"
    )
    precision: Precision = Field(
        default="auto",
        description="arithmetic of the forward pass in training. auto: bfloat16 on a GPU that computes in it, float32 on others "
        "and on a CPU; fastest: as auto, and bfloat16 on a CPU that computes in it (lscpu names avx512_bf16 or amx_bf16), which saves up to "
        "half of the time; bfloat16 on any other CPU takes three times as long as float32",
    )
    cpu_threads: PositiveInt = Field(
        default=4,
        le=256,
        description="threads that a training on a CPU computes with; no effect on a GPU. It is a setting because the result depends on it: "
        "more threads add numbers in another order. Snakemake reserves 4 cores for the step; if you change this number, reserve as many: "
        "--set-threads train_hovernet=8",
    )
    max_norm: PositiveFloat = Field(default=1.0, description="gradients are clipped to this norm")
    ema: float = Field(
        default=0.999,
        ge=0,
        lt=1,
        description="decay per step of the moving average of the weights, which is validated, selected and written to the "
        "checkpoint; it is lower in the first steps. 0: no average, the weights themselves are used",
    )
    start_from: PathText = Field(
        default="scratch",
        description="where the weights of a decoder start. scratch: random weights; shared: those of the shared decoder of "
        "the same split, which is trained first (training.shared_decoder); or a .safetensors file: those of a decoder of "
        "this project with the same encoder, blocks, architecture and mpp; or a folder of such files, with / at its end: those "
        "of hovernet_{family}.safetensors there, else of hovernet_all.safetensors (docs/training.md)",
    )
    record_every: PositiveInt = Field(
        default=100,
        description="steps between two rows of the history; each time, a line is logged, and the state is stored from which "
        "a stopped training resumes",
    )
    validate_every: PositiveInt = Field(
        default=500,
        description="steps between two measurements on the validation folds (loss, metrics of the maps, watershed.select_by), a "
        "multiple of training.record_every; the last step is always measured. The weights of the best measurement are selected",
    )
    patience: PositiveInt | None = Field(
        default=None,
        description="the training stops after so many measurements without a better one; null: it takes all its steps",
    )
    augment: bool = Field(
        default=True,
        description="show each tile in a view that is sampled at every step, and change its image and tokens by the "
        "settings below; false: always the identity view, unchanged",
    )
    views: Literal["auto", "stored", "rotated"] = Field(
        default="auto",
        description="where the sampled views come from. stored: from the extracted views (features.views), the true "
        "tokens; refused where only identity is extracted. auto: stored where features.views has more than identity, else "
        "the identity view alone. rotated: the tokens of the identity view, flipped and rotated as a map of vectors, which "
        "is an approximation and was worse than no augmentation (docs/results.md)",
    )
    image_jitter: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="stain jitter (HED) of the image that the decoder sees, sampled for each tile at every step: each stain "
        "is scaled by up to 1 +- this and shifted by up to +- this (light 0.05, strong 0.2). 0: none",
    )
    image_blur: float = Field(
        default=0.0,
        ge=0,
        le=2,
        description="Gaussian blur of the image that the decoder sees: its standard deviation in pixels is sampled between "
        "0 and this for each tile at every step. 0: none",
    )
    token_noise: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="standard deviation of the Gaussian noise that is added to the tokens in training, as a share of the "
        "standard deviation of each token over its channels. 0: none",
    )
    shared_decoder: bool = Field(
        default=True, description='also train one decoder for all organs (family "all"), beside two families or more'
    )
    loss: LossSettings = Field(default_factory=LossSettings, description="parts of the loss")

    @field_validator("start_from")
    @classmethod
    def _start_is_known(cls, start: str) -> str:
        if start not in {SCRATCH, SHARED} and not start.endswith((".safetensors", "/")):
            raise ValueError(
                f"must be {SCRATCH}, {SHARED}, the path of a checkpoint that ends in .safetensors, or of a folder of them that "
                f"ends in /, found {start!r}"
            )
        return start

    @model_validator(mode="after")
    def _whole_rounds(self) -> Self:
        every, given = self.record_every, self.validate_every
        if given % every:
            low = given // every * every
            valid = ", ".join(str(steps) for steps in (low, low + every) if steps)
            raise ValueError(
                f"training.validate_every={given} is not a multiple of training.record_every={every}; nearest valid "
                f"values: {valid}"
            )
        return self

    @model_validator(mode="after")
    def _start_is_trained(self) -> Self:
        if self.start_from == SHARED and not self.shared_decoder:
            raise ValueError(
                "training.start_from=shared: the decoders start from the shared decoder, which is not trained; set "
                "training.shared_decoder: true, or training.start_from: scratch"
            )
        return self

    @model_validator(mode="after")
    def _untrained_is_no_model(self) -> Self:
        if self.steps == 0 and self.start_from in {SCRATCH, SHARED}:
            raise ValueError(
                f"training.steps=0 evaluates decoders as they are, and training.start_from={self.start_from} names none; set "
                "training.start_from to a checkpoint, or training.steps to 1 or more"
            )
        return self

    @property
    def start_file(self) -> str:
        """Checkpoint from which the training starts; empty if `start_from` names none."""
        return "" if self.start_from in {SCRATCH, SHARED} else self.start_from

    def n_steps(self, n_tiles: int) -> int:
        """Optimizer steps of a training on `n_tiles` tiles.

        Examples:
            >>> TrainingSettings(epochs=50, batch_size=16, min_steps=2000).n_steps(136)
            2000
            >>> TrainingSettings(epochs=50, batch_size=16, min_steps=2000).n_steps(2656)
            8300
        """
        if self.steps is not None:
            return self.steps
        return max(self.epochs * -(-n_tiles // self.batch_size), self.min_steps)
