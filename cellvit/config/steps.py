"""What each step of the graph reads of the settings.

A rule passes its step exactly this as JSON: a change of any other setting does not rerun it.
"""

from collections.abc import Callable, Mapping

from pydantic import Field

from cellvit.config.base import Section
from cellvit.config.data import Families, SimulatedData
from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.config.judging import QualityGates, WatershedSettings
from cellvit.config.models import DecoderSettings, OrganHeadSettings, TrainingSettings
from cellvit.config.settings import Settings


class ExtractFeaturesSettings(Section):
    """What `extract_features` and `check_features` read."""

    encoder: EncoderSettings
    features: FeaturesSettings

    @property
    def blocks(self) -> tuple[int, ...]:
        """Blocks whose tokens are kept."""
        return self.features.blocks or (self.encoder.spec.depth - 1,)


class TrainOrganHeadSettings(Section):
    """What `train_organ_head` reads."""

    organ_head: OrganHeadSettings
    seed: int


class GatherFamilySettings(Section):
    """What `gather_family` reads: the organs of the family."""

    organs: tuple[str, ...]


class TrainHovernetSettings(Section):
    """What `train_hovernet` reads."""

    decoder: DecoderSettings
    training: TrainingSettings
    seed: int


class TuneWatershedSettings(Section):
    """What `tune_watershed` reads."""

    watershed: WatershedSettings
    seed: int


class EvaluateSettings(Section):
    """What `evaluate_family` reads."""

    seed: int


class EvaluateRoutedSettings(Section):
    """What `evaluate_routed` reads: which decoder belongs to which organ."""

    families: Families
    seed: int


class SummarizeSettings(Section):
    """What `summarize` reads."""

    quality: QualityGates
    seed: int


class BuildReportSettings(Section):
    """What `build_report` shows: everything except where it was computed."""

    settings: Settings = Field(description="settings of the run; device and results are set to their defaults")


class ArchiveSettings(Section):
    """What `archive` keeps: everything."""

    settings: Settings


def _of_features(settings: Settings) -> FeaturesSettings:
    """Features without what decides only how they are computed, and without colours that no view has."""
    defaults, unread = FeaturesSettings(), ["batch_size", "shards"]
    if not settings.features.colour_views:
        unread += ["colour_sigma", "colour_seed"]
    return settings.features.model_copy(update={name: getattr(defaults, name) for name in unread})


def _of_training(settings: Settings) -> TrainingSettings:
    """Training without what decides only which decoders there are."""
    return settings.training.model_copy(update={"pooled_control": TrainingSettings().pooled_control})


_SECTIONS: Mapping[str, Callable[[Settings, str | None], Section]] = {
    "simulate_pannuke": lambda s, _: s.data.simulated or SimulatedData(),
    "extract_features": lambda s, _: ExtractFeaturesSettings(encoder=s.encoder, features=_of_features(s)),
    "check_features": lambda s, _: ExtractFeaturesSettings(encoder=s.encoder, features=_of_features(s)),
    "train_organ_head": lambda s, _: TrainOrganHeadSettings(organ_head=s.organ_head, seed=s.seed),
    "gather_family": lambda s, family: GatherFamilySettings(organs=s.decoder_families[family or ""]),
    "check_targets": lambda s, _: s.gates.integrity,
    "train_hovernet": lambda s, _: TrainHovernetSettings(decoder=s.decoder, training=_of_training(s), seed=s.seed),
    "tune_watershed": lambda s, _: TuneWatershedSettings(watershed=s.watershed, seed=s.seed),
    "evaluate_family": lambda s, _: EvaluateSettings(seed=s.seed),
    "evaluate_routed": lambda s, _: EvaluateRoutedSettings(families=s.families, seed=s.seed),
    "summarize": lambda s, _: SummarizeSettings(quality=s.gates.quality, seed=s.seed),
    "build_report": lambda s, _: BuildReportSettings(
        settings=s.model_copy(update={"device": Settings().device, "results": Settings().results})
    ),
    "archive": lambda s, _: ArchiveSettings(settings=s),
}


def step_settings(settings: Settings, step: str, family: str | None = None) -> str:
    """JSON that the rule of `step` passes to its stage; the same settings always give the same text."""
    return step_section(settings, step, family).model_dump_json(by_alias=True)


def step_section(settings: Settings, step: str, family: str | None = None) -> Section:
    """The part of the settings that `step` reads, as its products record it."""
    return _SECTIONS[step](settings, family)
