"""The part of the settings that each step of the graph reads.

A rule passes exactly this part to its step, as JSON: a change of any other setting does not rerun the step.
"""

from collections.abc import Callable, Mapping
from typing import Final

from pydantic import Field

from cellvit.config.base import Section
from cellvit.config.data import Families, SimulatedData
from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.config.evaluation import QualityGates, SelectionSettings, WatershedSettings
from cellvit.config.models import DecoderSettings, OrganHeadSettings, TrainingSettings
from cellvit.config.settings import Settings


class ExtractFeaturesSettings(Section):
    """Settings of `extract_features` and `check_features`."""

    encoder: EncoderSettings
    features: FeaturesSettings

    @property
    def blocks(self) -> tuple[int, ...]:
        """Blocks whose tokens are stored."""
        return self.features.stored_blocks(self.encoder.spec.depth)


class TrainOrganHeadSettings(Section):
    """Settings of `train_organ_head`."""

    organ_head: OrganHeadSettings
    seed: int


class GatherFamiliesSettings(Section):
    """Settings of `gather_families`: the organs of one family."""

    organs: tuple[str, ...]


class TrainHovernetSettings(Section):
    """Settings of `train_hovernet`."""

    decoder: DecoderSettings
    training: TrainingSettings
    selection: SelectionSettings = Field(default_factory=SelectionSettings, description="how an epoch is selected")
    seed: int


class TuneWatershedSettings(Section):
    """Settings of `tune_watershed`."""

    watershed: WatershedSettings
    seed: int


class EvaluateSettings(Section):
    """Settings of `evaluate_organ_head` and `evaluate_family`."""

    seed: int


class EvaluateRoutedSettings(Section):
    """Settings of `evaluate_routed`; the families say which decoder belongs to which organ."""

    families: Families
    seed: int


class SummarizeSettings(Section):
    """Settings of `summarize`."""

    quality: QualityGates
    seed: int


class BuildReportSettings(Section):
    """Settings of `build_report`, which shows all settings but those that do not decide any result."""

    settings: Settings = Field(description="settings of the run; device, results and cache have their defaults")


def step_settings(settings: Settings, step: str, family: str = "") -> str:
    """JSON of the part of the settings that `step` reads (of a family, if it has one); equal settings, equal text."""
    return _SECTIONS[step](settings, family).model_dump_json(by_alias=True)


def _extract_features(settings: Settings, _: str) -> Section:
    """Without the batch size, and without the settings of colours that no view has: neither decides a token."""
    defaults, unread = FeaturesSettings(), ["batch_size"]
    if not settings.features.colour_views:
        unread += ["colour_sigma", "colour_seed"]
    features = settings.features.model_copy(update={name: getattr(defaults, name) for name in unread})
    return ExtractFeaturesSettings(encoder=settings.encoder, features=features)


def _train_hovernet(settings: Settings, _: str) -> Section:
    """Without `shared_decoder`, which decides which decoders are trained, but not how."""
    training = settings.training.model_copy(update={"shared_decoder": TrainingSettings().shared_decoder})
    selection = settings.watershed.selection
    return TrainHovernetSettings(decoder=settings.decoder, training=training, selection=selection, seed=settings.seed)


def _build_report(settings: Settings, _: str) -> Section:
    defaults = Settings()
    same = {name: getattr(defaults, name) for name in ("device", "results", "cache")}
    return BuildReportSettings(settings=settings.model_copy(update=same))


_SECTIONS: Final[Mapping[str, Callable[[Settings, str], Section]]] = {
    "simulate_pannuke": lambda s, _: s.data.simulated or SimulatedData(),
    "check_targets": lambda s, _: s.gates.integrity,
    "extract_features": _extract_features,
    "check_features": _extract_features,
    "train_organ_head": lambda s, _: TrainOrganHeadSettings(organ_head=s.organ_head, seed=s.seed),
    "gather_families": lambda s, family: GatherFamiliesSettings(organs=s.decoder_families[family]),
    "train_hovernet": _train_hovernet,
    "tune_watershed": lambda s, _: TuneWatershedSettings(watershed=s.watershed, seed=s.seed),
    "evaluate_organ_head": lambda s, _: EvaluateSettings(seed=s.seed),
    "evaluate_family": lambda s, _: EvaluateSettings(seed=s.seed),
    "evaluate_routed": lambda s, _: EvaluateRoutedSettings(families=s.families, seed=s.seed),
    "summarize": lambda s, _: SummarizeSettings(quality=s.gates.quality, seed=s.seed),
    "build_report": _build_report,
    "archive": lambda s, _: s,
}
