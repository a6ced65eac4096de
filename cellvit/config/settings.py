"""All settings of a run."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, PositiveFloat, ValidationError, model_validator

from cellvit.config.base import PathText, Section, override
from cellvit.config.data import OFFICIAL_SPLITS, DataSettings, Splits
from cellvit.config.encoders import EncoderSettings, FeaturesSettings, check_fit
from cellvit.config.evaluation import GatesSettings, RoutingSettings, WatershedSettings
from cellvit.config.families import Families, LeftOutOrgans, Organs
from cellvit.config.messages import fault_lines, settings_error
from cellvit.config.models import DecoderSettings, OrganHeadSettings, TrainingSettings
from cellvit.config.prediction import PredictionSettings
from cellvit.config.strict import plain
from cellvit.taxonomy import DEFAULT_FAMILIES, SHARED_FAMILY, base_family, repeated

Device = Literal["auto", "cpu", "cuda", "mps"]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


_SHELL_SIGNS: Final = "'\"`;&|<>*?"
"""Signs that a shell reads as more than a letter; `PathText` refuses others."""


def _shell_safe(path: str) -> str:
    if found := [sign for sign in path if sign.isspace() or sign in _SHELL_SIGNS]:
        raise ValueError(
            f"must be a path without spaces and without {' '.join(_SHELL_SIGNS)}, because it becomes part of commands, found "
            f"{found[0]!r} in {path!r}"
        )
    return path


class CacheSettings(Section):
    """The result cache: results of earlier runs, which a step reuses where its inputs, settings and code are the same."""

    enabled: bool = Field(default=True, description="false: every step that runs computes, and nothing is cached")
    max_gb: PositiveFloat = Field(default=100, description="size limit in GB; the least recently used results go first")


class Settings(Section):
    """Settings of a run: the content of config.yaml."""

    data: DataSettings = Field(default_factory=DataSettings, description="where the folds come from")
    results: Annotated[PathText, AfterValidator(_shell_safe)] = Field(default="results", description="output folder")
    families: Families | None = Field(
        default=dict(DEFAULT_FAMILIES),  # type: ignore[assignment]  # validated into FamilySettings by validate_default
        description="families: sets of organs that share a decoder. training, decoder and watershed beside organs override "
        "any of their keys for this family alone; null removes a family. families: null is one decoder for all organs. The "
        "default families are PanNuke's: with another data set, those with an organ that it lacks are left out, and without "
        "any other family there is one decoder",
    )
    left_out_organs: LeftOutOrgans = Field(
        default=(),
        description="organs of the data set that are in no family on purpose; their tiles train and test no decoder, and are "
        "counted in logs and report",
    )
    splits: Splits = Field(
        default=OFFICIAL_SPLITS,  # type: ignore[arg-type]  # validated into Split by validate_default
        description="which folds train, validate and test (a fold or a list of folds each); null removes a split",
    )
    encoder: EncoderSettings = Field(default_factory=EncoderSettings, description="the frozen encoder")
    features: FeaturesSettings = Field(default_factory=FeaturesSettings, description="which features are extracted")
    organ_head: OrganHeadSettings = Field(
        default_factory=OrganHeadSettings, description="OrganHead: the organ of a tile"
    )
    decoder: DecoderSettings = Field(default_factory=DecoderSettings, description="HoVer-Net decoder of each family")
    training: TrainingSettings = Field(default_factory=TrainingSettings, description="training of the decoders")
    watershed: WatershedSettings = Field(
        default_factory=WatershedSettings, description="where the parameters of the decoding are searched"
    )
    routing: RoutingSettings = Field(
        default_factory=RoutingSettings, description="which decoder is used for which organ"
    )
    gates: GatesSettings = Field(default_factory=GatesSettings, description="integrity checks and quality gates")
    seed: Seed = Field(default=0, description="seed of the training; intervals need none")
    further_seeds: tuple[Seed, ...] = Field(
        default=(),
        description="every decoder is trained again with each of these seeds, and the summary and the report give the standard "
        "deviation over all seeds; routing and galleries use the decoders of `seed`",
    )
    device: Device = Field(
        default="auto",
        description="where torch computes; auto: on an NVIDIA GPU if there is one; mps: on the GPU of a Mac",
    )
    cache: CacheSettings = Field(default_factory=CacheSettings, description="result cache, beside the output folder")
    prediction: PredictionSettings = Field(
        default_factory=PredictionSettings, description="applying the trained models to images and slides"
    )

    @model_validator(mode="after")
    def _organs_have_one_family(self) -> Self:
        family_of: dict[str, str] = {}
        for family, organs in self.organs.items():
            for organ in organs:
                if organ in family_of:
                    raise ValueError(
                        f"families: organ {organ} is in {family_of[organ]} and in {family}; every organ has exactly one family"
                    )
                family_of[organ] = family
        for organ in self.left_out_organs:
            if organ in family_of:
                raise ValueError(
                    f"left_out_organs: organ {organ} is in family {family_of[organ]}; remove it from one of both"
                )
        return self

    @model_validator(mode="after")
    def _one_decoder_starts_from_scratch(self) -> Self:
        if not self.has_organ_head and self.training.start_from == "shared":
            raise ValueError(
                "training.start_from=shared: with one family, or families: null, there is one decoder, and none to start it "
                "from; set training.start_from: scratch"
            )
        return self

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        seeds = (self.seed, *self.further_seeds)
        if len(set(seeds)) < len(seeds):
            raise ValueError(
                f"further_seeds={list(self.further_seeds)}: expected seeds that differ from each other and from "
                f"seed={self.seed}; remove the one that occurs twice"
            )
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
        if self.encoder.spec.levels and self.decoder.blocks is not None:
            raise ValueError(
                f"decoder.blocks={list(self.decoder.blocks)}: the levels of this encoder are stored as one grid, which the "
                "decoder reads; set decoder.blocks: null, and choose levels by features.blocks"
            )
        stored = self.stored_blocks
        missing = [block for block in self.decoder.blocks or () if block not in stored]
        if missing:
            raise ValueError(
                f"decoder.blocks={missing}: not among the stored blocks, features.blocks={list(stored)}; "
                f"set features.blocks: {sorted({*stored, *missing})}, which extracts again, or choose decoder.blocks from "
                "the stored blocks"
            )
        return self

    @model_validator(mode="after")
    def _sampled_views_are_extracted(self) -> Self:
        if self.training.augment and self.training.views == "stored" and self.features.n_views == 1:
            raise ValueError(
                "training.views=stored: samples from the extracted views, but features.views has identity alone; "
                "set features.views: [dihedral8], which extracts again, or training.views: auto"
            )
        return self

    @model_validator(mode="after")
    def _averaged_views_are_extracted(self) -> Self:
        if self.watershed.average_views and len(self.features.views) == 1:
            raise ValueError(
                "watershed.average_views=true: averages over the extracted flips and rotations, but features.views has "
                "identity alone; set features.views: [dihedral8], which extracts again, or watershed.average_views: false"
            )
        return self

    @model_validator(mode="after")
    def _own_settings_of_families_are_valid(self) -> Self:
        faults: list[str] = []
        for family in self.families or ():
            try:
                self.of_family(family)
            except ValidationError as error:
                faults += [f"families.{family}.{line}" for line in fault_lines(error, Settings)]
        if faults:
            raise ValueError("\n  ".join(faults))
        return self

    def of_family(self, family: str) -> "Settings":
        """The settings that hold for one decoder: those of its family over the others, and its seed.

        The shared decoder has none of its own.

        Raises:
            ValidationError: Its own settings are not valid together with the others.
        """
        base, seed, families = base_family(family), self.repeats.get(family, self.seed), self.families or {}
        own = families[base].own if base in families else {}
        if not own and seed == self.seed:
            return self
        merged = self.model_dump(by_alias=True) | {"families": self.organs or None, "seed": seed, "further_seeds": ()}
        override(merged, own)
        return Settings.model_validate(merged)

    @property
    def organs(self) -> dict[str, Organs]:
        """Organs of each family, without the shared decoder; none with one decoder for all organs."""
        return {name: family.organs for name, family in (self.families or {}).items()}

    @property
    def has_organ_head(self) -> bool:
        """Whether OrganHead is trained: where it has two families or more to choose from, with an organ or more each."""
        return len(self.organs) >= 2

    @property
    def stored_blocks(self) -> tuple[int, ...]:
        """Numbers of the token grids in the feature stores: blocks of the encoder; 0 alone for the levels of a pyramid."""
        return self.encoder.spec.stored_grids(self.features.blocks)

    def organs_of(self, family: str) -> tuple[str, ...] | None:
        """Organs of a decoder, in alphabetical order; None for all that are not left out."""
        return self.decoder_families[base_family(family)]

    @property
    def repeats(self) -> dict[str, int]:
        """Seed of each decoder that is trained again with a further seed, by its name."""
        return {repeated(family, seed): seed for seed in self.further_seeds for family in self.decoder_families}

    @property
    def decoder_families(self) -> Mapping[str, tuple[str, ...] | None]:
        """Organs of each family, with that of the shared decoder last if it is trained.

        It is not trained beside one family, whose decoder it would repeat. Organs are in alphabetical order, so that their order in the settings makes no difference. The one decoder for all
        organs (families: null) has None: every organ that is not left out.
        """
        if self.families is None:
            return {SHARED_FAMILY: None}
        families = self.organs
        if self.training.shared_decoder and len(families) > 1:
            families[SHARED_FAMILY] = tuple(organ for organs in self.organs.values() for organ in organs)
        return {name: tuple(sorted(organs)) for name, organs in families.items()}


def load_settings(raw: Mapping[str, object]) -> Settings:
    """Settings from a parsed settings file. No value changes its type: true is not taken for a number, and neither is "10".

    Raises:
        SettingsError: A key is unknown, or a value is of another type or outside its limits; the message names every fault.
    """
    try:
        return Settings.model_validate(plain(raw))
    except ValidationError as error:
        raise settings_error(error, Settings) from None
