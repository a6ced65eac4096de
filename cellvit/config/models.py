"""Settings of OrganHead, the HoVer-Net decoder and their training."""

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from cellvit.config.base import Section

TokenNorm = Literal["none", "layer"]
ImageStem = Literal["none", "rgb", "rgb_residual"]
Trunk = Literal["shared", "branches"]
Upsampling = Literal["bilinear", "pixel_shuffle"]


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


class TrainingSettings(Section):
    """Training of the decoders."""

    epochs: PositiveInt = Field(default=50, description="passes over the training folds")
    batch_size: PositiveInt = Field(default=16, le=1024, description="tiles per training step")
    learning_rate: PositiveFloat = Field(default=1e-4, description="peak learning rate of AdamW")
    weight_decay: NonNegativeFloat = Field(default=1e-2, description="weight decay of AdamW")
    warmup: float = Field(
        default=0.05, ge=0, lt=1, description="share of the steps in the warm-up, before cosine decay"
    )
    max_norm: PositiveFloat = Field(default=1.0, description="gradients are clipped to this norm")
    augment: bool = Field(
        default=True,
        description="show each tile in a view that is sampled in every epoch; false: always in the identity view",
    )
    views: Literal["auto", "stored", "rotated"] = Field(
        default="auto",
        description="where the sampled views come from. stored: from the extracted views (features.views), the true "
        "tokens; refused where only identity is extracted. rotated: the tokens of the identity view, flipped and rotated "
        "as a map of vectors, which is an approximation. auto: stored where features.views has more than identity, else "
        "rotated",
    )
    bpq_every: PositiveInt = Field(
        default=5,
        description="epochs between measurements of bPQ on the validation folds; the epoch with the best value is selected",
    )
    shared_decoder: bool = Field(default=True, description='also train one decoder for all organs (family "all")')
    loss: LossSettings = Field(default_factory=LossSettings, description="parts of the loss")

    @model_validator(mode="after")
    def _measured_at_least_once(self) -> Self:
        if self.bpq_every > self.epochs:
            raise ValueError(
                f"training.bpq_every={self.bpq_every} is larger than training.epochs={self.epochs}: bPQ would never be "
                f"measured; set it to {self.epochs} or less"
            )
        return self
