"""The part of the settings that each step of the graph reads.

A rule passes exactly this part to its step, as JSON: a change of any other setting does not rerun the step.
"""

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Final

from pydantic import Field

from cellvit.config.base import Section
from cellvit.config.data import SimulatedData
from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.config.evaluation import QualityGates, RoutingSettings, SelectionSettings, WatershedSettings
from cellvit.config.families import LeftOutOrgans, Organs
from cellvit.config.models import SHARED, DecoderSettings, OrganHeadSettings, TrainingSettings
from cellvit.config.settings import Settings
from cellvit.taxonomy import SHARED_FAMILY, base_family


class ExtractFeaturesSettings(Section):
    """Settings of `extract_features` and `check_features`."""

    encoder: EncoderSettings
    features: FeaturesSettings

    @property
    def blocks(self) -> tuple[int, ...]:
        """Numbers of the token grids that are stored: blocks; 0 alone for the levels of a pyramid."""
        return self.encoder.spec.stored_grids(self.features.blocks)


class PrepareFoldSettings(Section):
    """Settings of `prepare_fold`: findings that do not stop it."""

    accepted_findings: tuple[str, ...] = ()


class PrepareOwnDataSettings(PrepareFoldSettings):
    """Settings of `prepare_own_data`: also the resolution of the tiles, and the folds that are taken or made."""

    mpp: float
    folds: tuple[int, ...]
    fold_seed: int


class CheckFoldsSettings(PrepareFoldSettings):
    """Settings of `check_folds`: also the pairs of folds that have different roles in a split."""

    meeting: tuple[tuple[int, int], ...]


class TrainOrganHeadSettings(Section):
    """Settings of `train_organ_head`."""

    organ_head: OrganHeadSettings
    seed: int


class GatherFamiliesSettings(Section):
    """Settings of `gather_families`: the organs of one family, None for all of them, and those of no family."""

    organs: Organs | None
    left_out_organs: LeftOutOrgans = ()


class TrainHovernetSettings(Section):
    """Settings of `train_hovernet`."""

    decoder: DecoderSettings
    training: TrainingSettings
    selection: SelectionSettings = Field(default_factory=SelectionSettings, description="how the weights are selected")
    seed: int


class TuneWatershedSettings(Section):
    """Settings of `tune_watershed`."""

    watershed: WatershedSettings


class EvaluateSettings(Section):
    """Settings of `evaluate_organ_head`, `evaluate_family` and `calibrate`: none, because their inputs decide everything."""


class EvaluateRoutedSettings(Section):
    """Settings of `evaluate_routed`: the organs of the families, and which decoder is used for an organ."""

    families: dict[str, Organs]
    routing: RoutingSettings = Field(default_factory=RoutingSettings, description="the family's or the shared decoder")


class SummarizeSettings(Section):
    """Settings of `summarize`."""

    quality: QualityGates


class BuildReportSettings(Section):
    """Settings of `build_report`, which shows all settings but those that do not decide any result."""

    settings: Settings = Field(
        description="settings of the run; device, results, cache and prediction have their defaults"
    )


class GatherBundleSettings(Section):
    """Settings of `gather_bundle`: the organs of each decoder, None for all organs that are not left out."""

    decoders: dict[str, tuple[str, ...] | None]
    left_out_organs: LeftOutOrgans = ()

    def organs_of(self, family: str, organs: tuple[str, ...]) -> tuple[str, ...]:
        """Organs of a decoder, of all `organs` of the data set."""
        of_family = self.decoders[family]
        left = tuple(organ for organ in organs if organ not in self.left_out_organs)
        return left if of_family is None else of_family


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


def _gather_families(settings: Settings, family: str) -> Section:
    """Left-out organs are read only where they decide something, so that a family that is added leaves others alone."""
    organs = settings.organs_of(family)
    left_out = settings.left_out_organs if organs is None else ()
    return GatherFamiliesSettings(organs=organs, left_out_organs=left_out)


def _train_hovernet(settings: Settings, family: str) -> Section:
    """Those of the family, without what decides nothing.

    `shared_decoder` says which decoders are trained, and the shared decoder does not start from itself.
    """
    own, defaults, unread = settings.of_family(family), TrainingSettings(), ["shared_decoder"]
    if base_family(family) == SHARED_FAMILY and own.training.start_from == SHARED:
        unread.append("start_from")
    training = own.training.model_copy(update={name: getattr(defaults, name) for name in unread})
    selection = own.watershed.selection
    return TrainHovernetSettings(decoder=own.decoder, training=training, selection=selection, seed=own.seed)


def _meeting(settings: Settings) -> tuple[tuple[int, int], ...]:
    """Pairs of folds with different roles in a split; a new split of the same folds changes nothing."""
    pairs = {
        (min(one, other), max(one, other))
        for split in settings.splits.values()
        for folds, others in combinations(split.roles.values(), 2)
        for one in folds
        for other in others
    }
    return tuple(sorted(pairs))


def _build_report(settings: Settings, _: str) -> Section:
    defaults = Settings()
    same = {name: getattr(defaults, name) for name in ("device", "results", "cache", "prediction")}
    return BuildReportSettings(settings=settings.model_copy(update=same))


_SECTIONS: Final[Mapping[str, Callable[[Settings, str], Section]]] = {
    "simulate_pannuke": lambda s, _: s.data.simulated or SimulatedData(),
    "prepare_own_data": lambda s, _: PrepareOwnDataSettings(
        mpp=s.data.mpp,
        folds=s.data.folds,
        fold_seed=s.data.fold_seed,
        accepted_findings=s.gates.integrity.accepted_findings,
    ),
    "prepare_fold": lambda s, _: PrepareFoldSettings(accepted_findings=s.gates.integrity.accepted_findings),
    "check_folds": lambda s, _: CheckFoldsSettings(
        meeting=_meeting(s), accepted_findings=s.gates.integrity.accepted_findings
    ),
    "check_targets": lambda s, _: s.gates.integrity,
    "extract_features": _extract_features,
    "check_features": _extract_features,
    "train_organ_head": lambda s, _: TrainOrganHeadSettings(organ_head=s.organ_head, seed=s.seed),
    "gather_families": _gather_families,
    "train_hovernet": _train_hovernet,
    "tune_watershed": lambda s, family: TuneWatershedSettings(watershed=s.of_family(family).watershed),
    "evaluate_organ_head": lambda _, __: EvaluateSettings(),
    "evaluate_family": lambda _, __: EvaluateSettings(),
    "calibrate": lambda _, __: EvaluateSettings(),
    "evaluate_routed": lambda s, _: EvaluateRoutedSettings(families=s.organs, routing=s.routing),
    "summarize": lambda s, _: SummarizeSettings(quality=s.gates.quality),
    "build_report": _build_report,
    "gather_bundle": lambda s, _: GatherBundleSettings(
        decoders=dict(s.decoder_families), left_out_organs=s.left_out_organs
    ),
    "archive": lambda s, _: s,
}
