"""All settings of a run."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from cellvit.config.base import Section
from cellvit.config.data import OFFICIAL_SPLITS, DataSettings, Families, Splits
from cellvit.config.encoders import EncoderSettings, FeaturesSettings, check_fit
from cellvit.config.faults import settings_error
from cellvit.config.judging import GatesSettings, WatershedSettings
from cellvit.config.models import DecoderSettings, OrganHeadSettings, TrainingSettings
from cellvit.taxonomy import DEFAULT_FAMILIES, ORGANS, SHARED_FAMILY

Device = Literal["auto", "cpu", "cuda"]


class Settings(Section):
    """Settings of a run: the content of config.yaml."""

    data: DataSettings = Field(default_factory=DataSettings, description="where the folds come from")
    results: Annotated[str, StringConstraints(pattern=r"^[^\s{}'\"$`;&|<>*?]+$")] = Field(
        default="results", description="output folder"
    )
    families: Families = Field(
        default=dict(DEFAULT_FAMILIES), description="families: sets of organs that share a decoder; null removes one"
    )
    splits: Splits = Field(
        default=OFFICIAL_SPLITS,  # type: ignore[arg-type]  # validated into Split by validate_default
        description="which folds train, validate and test (a fold or a list of folds each); null removes a split",
    )
    encoder: EncoderSettings = Field(default_factory=EncoderSettings, description="the frozen encoder")
    features: FeaturesSettings = Field(default_factory=FeaturesSettings, description="what is extracted")
    organ_head: OrganHeadSettings = Field(
        default_factory=OrganHeadSettings, description="organ of a tile from its CLS token"
    )
    decoder: DecoderSettings = Field(default_factory=DecoderSettings, description="HoVer-Net decoder, one a family")
    training: TrainingSettings = Field(default_factory=TrainingSettings, description="training of the decoders")
    watershed: WatershedSettings = Field(default_factory=WatershedSettings, description="grid of watershed parameters")
    gates: GatesSettings = Field(
        default_factory=GatesSettings, description="limits that stop a run or grade its results"
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="seed of training and of bootstrap intervals")
    device: Device = Field(default="auto", description="where torch computes; auto takes a GPU where there is one")

    @model_validator(mode="after")
    def _organs_have_one_family(self) -> Self:
        family_of: dict[str, str] = {}
        for family, organs in self.families.items():
            for organ in organs:
                if organ in family_of:
                    raise ValueError(
                        f"families: organ {organ} is in {family_of[organ]} and in {family}; every organ has one family"
                    )
                family_of[organ] = family
        return self

    @model_validator(mode="after")
    def _splits_use_known_folds(self) -> Self:
        for name, split in self.splits.items():
            unknown = sorted({fold for folds in split.roles.values() for fold in folds} - set(self.data.folds))
            if unknown:
                raise ValueError(f"splits.{name} uses fold {unknown}, data.folds has {list(self.data.folds)}")
        return self

    @model_validator(mode="after")
    def _blocks_and_input_fit_the_encoder(self) -> Self:
        check_fit(self.encoder, self.features)
        kept = self.stored_blocks
        missing = [block for block in self.decoder.blocks or () if block not in kept]
        if missing:
            raise ValueError(
                f"decoder.blocks={missing}: not among the blocks that are kept, features.blocks={list(kept)}; "
                f"set features.blocks: {sorted({*kept, *missing})}, which extracts again, or decoder.blocks to some of these"
            )
        return self

    @model_validator(mode="after")
    def _drawn_views_are_extracted(self) -> Self:
        if self.training.augment and self.training.views == "stored" and self.features.n_views == 1:
            raise ValueError(
                "training.views=stored: draws among the views that are extracted, features.views has identity alone; "
                "set features.views: [dihedral8], which extracts again, or training.views: auto"
            )
        return self

    @property
    def stored_blocks(self) -> tuple[int, ...]:
        """Blocks whose tokens the feature stores hold."""
        return self.features.blocks or (self.encoder.spec.depth - 1,)

    @property
    def decoder_families(self) -> dict[str, tuple[str, ...]]:
        """Organs by family, with the pooled control last where it is wanted.

        Organs stand in the order of the taxonomy: in which order, and in which family of the control, settings name them
        makes no difference.
        """
        families = dict(self.families)
        if self.training.pooled_control:
            families[SHARED_FAMILY] = tuple(organ for organs in self.families.values() for organ in organs)
        return {name: tuple(organ for organ in ORGANS if organ in organs) for name, organs in families.items()}


def load_settings(raw: Mapping[str, object]) -> Settings:
    """Settings from a parsed config file.

    Raises:
        SettingsError: A key is unknown, or a value is out of its limits; every fault is named.
    """
    try:
        return Settings.model_validate(dict(raw))
    except ValidationError as error:
        raise settings_error(error, Settings) from None
