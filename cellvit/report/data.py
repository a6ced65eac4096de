"""Everything that the page shows, as the documents of a run record it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import pandas as pd

from cellvit.config.settings import Settings
from cellvit.errors import ContractError
from cellvit.evaluation.summary import Keyed
from cellvit.evaluation.training_record import TrainingRecord, training_record
from cellvit.formats.calibration import DecoderCalibration
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.dataset import DataSet
from cellvit.formats.evaluations import FamilyEvaluation, OrganHeadEvaluation, RoutedEvaluation
from cellvit.formats.features import FeatureCheck
from cellvit.formats.gallery import Gallery
from cellvit.formats.novelty import NoveltyHeader
from cellvit.formats.own_check import OwnDataCheck
from cellvit.formats.summary import SummaryRow
from cellvit.formats.tile_table import TileScores
from cellvit.formats.tiles import FoldsCheck, FoldSummary, TargetCheck
from cellvit.formats.timing import Timing
from cellvit.formats.watershed import WatershedChoice
from cellvit.taxonomy import ONE_DECODER, SHARED_FAMILY

Key = tuple[str, str]
"""Split and family."""

OfDecoder = TypeVar("OfDecoder", CheckpointHeader, WatershedChoice, FamilyEvaluation, Gallery, DecoderCalibration)
OfSplit = TypeVar("OfSplit", RoutedEvaluation, OrganHeadEvaluation, NoveltyHeader)


@dataclass(frozen=True, slots=True)
class Decoder:
    """One decoder, from training to test.

    Attributes:
        history: It has no rows where nothing was trained.
        scores: Scores of its test tiles.
    """

    header: CheckpointHeader
    history: pd.DataFrame
    watershed: WatershedChoice | None = None
    evaluation: FamilyEvaluation | None = None
    gallery: Gallery | None = None
    calibration: DecoderCalibration | None = None
    scores: TileScores | None = None

    @property
    def is_shared(self) -> bool:
        """True for the decoder of all organs."""
        return self.header.family == SHARED_FAMILY

    @property
    def with_plain_name(self) -> "Decoder":
        """The only decoder of a run, which is shown as such and not as the shared one."""
        name = {"family": ONE_DECODER}
        return Decoder(
            self.header.model_copy(update=name),
            self.history,
            self.watershed and self.watershed.model_copy(update=name),
            self.evaluation and self.evaluation.model_copy(update=name),
            self.gallery and self.gallery.model_copy(update=name),
            self.calibration and self.calibration.model_copy(update=name),
            self.scores,
        )


@dataclass(frozen=True, slots=True)
class FinalModel:
    """A model that was trained on all folds, with its decoding; OrganHead has none."""

    header: CheckpointHeader
    watershed: WatershedChoice | None = None


@dataclass(frozen=True, slots=True)
class ReportData:
    """The documents of a run, in the order of the settings: splits, families (the shared decoder last) and folds.

    Attributes:
        dataset: Classes, organs, resolution and licence of the tiles.
        marks: What must be shown beside every value: simulated data, the mark of the encoder.
        novelties: Headers of the novelty models of the splits.
        finals: Models that were trained on all folds (`snakemake final`), OrganHead last.
    """

    settings: Settings
    dataset: DataSet
    marks: tuple[str, ...]
    summary: Keyed
    decoders: tuple[Decoder, ...]
    routed: tuple[RoutedEvaluation, ...]
    organ_heads: tuple[OrganHeadEvaluation, ...]
    target_checks: tuple[TargetCheck, ...]
    feature_checks: tuple[FeatureCheck, ...]
    fold_summaries: tuple[FoldSummary, ...]
    timings: tuple[Timing, ...]
    folds_checks: tuple[FoldsCheck, ...] = ()
    own_checks: tuple[OwnDataCheck, ...] = ()
    novelties: tuple[NoveltyHeader, ...] = ()
    finals: tuple[FinalModel, ...] = ()

    @property
    def data_warnings(self) -> tuple[str, ...]:
        """What the checks of images, annotation and folds warned of."""
        of_folds = (f"Fold {one.fold}, {warning}" for one in self.fold_summaries for warning in one.warnings)
        of_all = [*(check.warnings for check in self.own_checks), *(check.warnings for check in self.folds_checks)]
        return (*of_folds, *(warning for warnings in of_all for warning in warnings))

    @property
    def evaluations(self) -> tuple[FamilyEvaluation, ...]:
        """Evaluations of decoders, absent ones included."""
        return tuple(decoder.evaluation for decoder in self.decoders if decoder.evaluation is not None)

    @property
    def left_out(self) -> dict[str, int]:
        """Tiles of each organ that is left out of every decoder on purpose, over all folds."""
        organs = self.settings.left_out_organs
        return {organ: sum(one.tiles_by_organ.get(organ, 0) for one in self.fold_summaries) for organ in organs}

    @property
    def training_records(self) -> dict[Key, TrainingRecord]:
        """How the decoders were trained, by split and family."""
        has_shared = any(one.is_shared for one in self.decoders)
        return {
            (one.header.split, one.header.family): training_record(one.header, one.history, has_shared=has_shared)
            for one in self.decoders
        }

    @property
    def calibrations(self) -> tuple[DecoderCalibration, ...]:
        """Calibrations of decoders, absent ones included."""
        return tuple(decoder.calibration for decoder in self.decoders if decoder.calibration is not None)

    @property
    def watersheds(self) -> tuple[WatershedChoice, ...]:
        """Watershed choices, absent ones included."""
        return tuple(decoder.watershed for decoder in self.decoders if decoder.watershed is not None)


def pair_decoders(
    settings: Settings,
    trainings: Iterable[tuple[CheckpointHeader, pd.DataFrame]],
    *,
    watersheds: Iterable[WatershedChoice] = (),
    evaluations: Iterable[FamilyEvaluation] = (),
    galleries: Iterable[Gallery] = (),
    calibrations: Iterable[DecoderCalibration] = (),
    scores: Mapping[Key, TileScores] = MappingProxyType({}),
) -> tuple[Decoder, ...]:
    """Decoders with everything that belongs to them, by the split and family that each document records.

    Args:
        trainings: Headers of checkpoints with their histories.
        scores: Scores of the test tiles by split and family.

    Raises:
        ContractError: Two documents of one kind are of one split and family, or a document has no checkpoint.
    """
    trainings = sorted(trainings, key=lambda training: _place(settings, training[0].split, training[0].family))
    headers = _by_key("checkpoint", [header for header, _ in trainings])
    chosen = _by_key("watershed choice", watersheds, headers)
    evaluated = _by_key("evaluation", evaluations, headers)
    pictured = _by_key("gallery", galleries, headers)
    calibrated = _by_key("calibration", calibrations, headers)
    return tuple(
        Decoder(
            header,
            history,
            chosen.get(key),
            evaluated.get(key),
            pictured.get(key),
            calibrated.get(key),
            scores.get(key),
        )
        for (key, header), (_, history) in zip(headers.items(), trainings, strict=True)
    )


def pair_finals(headers: Iterable[CheckpointHeader], watersheds: Iterable[WatershedChoice]) -> tuple[FinalModel, ...]:
    """Final models with the decoding of their family.

    Raises:
        ContractError: A checkpoint is not a final model.
    """
    chosen = {choice.family: choice for choice in watersheds}
    headers = tuple(headers)
    for header in headers:
        if not header.final:
            raise ContractError(f"--finals: expected final models, found {header.kind} of split {header.split}")
    return tuple(FinalModel(header, chosen.get(header.family)) for header in headers)


def by_split(settings: Settings, documents: Iterable[OfSplit]) -> tuple[OfSplit, ...]:
    """Documents in the order of the splits."""
    return tuple(sorted(documents, key=lambda document: _place(settings, document.split)))


def keyed(rows: Iterable[SummaryRow]) -> Keyed:
    """Rows of summary.csv by split and family, then by metric."""
    found: Keyed = {}
    for row in rows:
        found.setdefault((row.split, row.family), {})[row.metric] = row
    return found


def _by_key(kind: str, documents: Iterable[OfDecoder], known: Collection[Key] | None = None) -> dict[Key, OfDecoder]:
    found: dict[Key, OfDecoder] = {}
    for document in documents:
        key = document.split, document.family
        if key in found:
            raise ContractError(f"two documents are the {kind} of split {key[0]}, family {key[1]}; expected one")
        if known is not None and key not in known:
            raise ContractError(
                f"the {kind} of split {key[0]}, family {key[1]} has no checkpoint among the given ones: {sorted(known)}"
            )
        found[key] = document
    return found


def _place(settings: Settings, split: str, family: str = "") -> tuple[int, int, Key]:
    splits, families = [*settings.splits, split], [*settings.decoder_families, family]
    return splits.index(split), families.index(family), (split, family)
