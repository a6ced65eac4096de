"""Everything that the page shows, grouped by what the documents say of themselves."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import pandas as pd

from cellvit.config.settings import Settings
from cellvit.errors import ContractError
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.evaluations import FamilyEvaluation, OrganHeadEvaluation, RoutedEvaluation
from cellvit.formats.features import FeatureCheck
from cellvit.formats.summary import SummaryRow
from cellvit.formats.tile_table import TileScores
from cellvit.formats.tiles import FoldSummary, TargetCheck
from cellvit.formats.watershed import WatershedChoice
from cellvit.taxonomy import SHARED_FAMILY
from cellvit.workflow.timing_records import JobTiming

Key = tuple[str, str]
"""Split and family."""

SplitDocument = TypeVar("SplitDocument", RoutedEvaluation, OrganHeadEvaluation)
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Decoder:
    """One decoder, from training to test.

    Attributes:
        history: A row an epoch; empty where nothing was trained.
        watershed: None where no parameters were chosen.
        evaluation: None where it was not evaluated by itself (the control).
        tiles: Measurements of the test tiles by system; empty where it was not evaluated.
    """

    header: CheckpointHeader
    history: pd.DataFrame
    watershed: WatershedChoice | None
    evaluation: FamilyEvaluation | None
    tiles: Mapping[str, TileScores]

    @property
    def key(self) -> Key:
        """Split and family."""
        return self.header.split, self.header.family

    @property
    def is_control(self) -> bool:
        """True for the decoder of all organs."""
        return self.header.family == SHARED_FAMILY


@dataclass(frozen=True, slots=True)
class Findings:
    """What the steps of a run found.

    Attributes:
        summary: Rows of summary.csv.
        decoders: In the order of the settings: by split, then by family, the control last.
        routed: By split, in the order of the settings; `organ_heads` likewise.
        target_checks: By family, in the order of the settings.
        timings: What each job took; empty where the folder was not given.
    """

    settings: Settings
    summary: tuple[SummaryRow, ...]
    decoders: tuple[Decoder, ...]
    routed: tuple[RoutedEvaluation, ...]
    organ_heads: tuple[OrganHeadEvaluation, ...]
    target_checks: tuple[TargetCheck, ...]
    feature_checks: tuple[FeatureCheck, ...]
    fold_summaries: tuple[FoldSummary, ...]
    timings: tuple[JobTiming, ...]

    @property
    def evaluations(self) -> tuple[FamilyEvaluation, ...]:
        """Evaluations of families, absent ones included."""
        return tuple(decoder.evaluation for decoder in self.decoders if decoder.evaluation is not None)

    @property
    def marks(self) -> tuple[str, ...]:
        """What must stand beside every figure: simulated data, untrained encoder."""
        headers = (decoder.header for decoder in self.decoders)
        checks = (*self.fold_summaries, *self.feature_checks, *self.target_checks)
        documents = (*checks, *headers, *self.evaluations, *self.organ_heads, *self.routed)
        return tuple(dict.fromkeys(mark for document in documents for mark in document.provenance.marks))


def pair_decoders(
    settings: Settings,
    checkpoints: Iterable[tuple[CheckpointHeader, pd.DataFrame]],
    watersheds: Iterable[WatershedChoice],
    evaluations: Iterable[tuple[FamilyEvaluation, Mapping[str, TileScores]]],
) -> tuple[Decoder, ...]:
    """Decoders with everything that belongs to them, by the split and family that each document names.

    Args:
        checkpoints: Headers with their histories.
        evaluations: Evaluations with their tables of tiles.

    Raises:
        ContractError: A table does not belong to its document, two documents are of one split and family, or an
            evaluation or watershed has no checkpoint.
    """
    heads = _by_key("checkpoint", ((_key(header), (header, history)) for header, history in checkpoints))
    chosen = _by_key("watershed choice", ((_key(choice), choice) for choice in watersheds))
    judged = _by_key("evaluation", ((_key(result), (result, tiles)) for result, tiles in evaluations))
    _check_known("watershed choice", chosen, heads)
    _check_known("evaluation", judged, heads)
    for header, history in heads.values():
        _check_history(header, history)
    for result, tiles in judged.values():
        _check_tiles(result, tiles)
    decoders = []
    for key in sorted(heads, key=lambda key: _place(settings, key)):
        evaluation, tiles = judged.get(key, (None, {}))
        decoders.append(Decoder(*heads[key], chosen.get(key), evaluation, tiles))
    return tuple(decoders)


def by_split(settings: Settings, documents: Iterable[SplitDocument]) -> tuple[SplitDocument, ...]:
    """Documents in the order of the splits."""
    return tuple(sorted(documents, key=lambda document: _place(settings, (document.split, ""))))


def by_family(settings: Settings, checks: Iterable[TargetCheck]) -> tuple[TargetCheck, ...]:
    """Checks in the order of the families."""
    return tuple(sorted(checks, key=lambda check: _place(settings, ("", check.family))))


def _key(document: CheckpointHeader | WatershedChoice | FamilyEvaluation) -> Key:
    return document.split, document.family


def _by_key(kind: str, items: Iterable[tuple[Key, Item]]) -> dict[Key, Item]:
    found: dict[Key, Item] = {}
    for key, item in items:
        if key in found:
            raise ContractError(f"two documents say that they are the {kind} of split {key[0]}, family {key[1]}")
        found[key] = item
    return found


def _check_known(kind: str, documents: Mapping[Key, object], heads: Mapping[Key, object]) -> None:
    unknown = sorted(set(documents) - set(heads))
    if unknown:
        raise ContractError(
            f"the {kind} of split {unknown[0][0]}, family {unknown[0][1]} has no checkpoint among those given; "
            f"found checkpoints of {sorted(heads)}"
        )


def _check_history(header: CheckpointHeader, history: pd.DataFrame) -> None:
    kept = history.loc[history["chosen"].astype(bool), "epoch"].tolist() if len(history) else []
    expected = [header.epoch] if header.status == "trained" else []
    if kept != expected:
        raise ContractError(
            f"history of split {header.split}, family {header.family}: the checkpoint keeps epoch {expected}, "
            f"the history marks {kept}. Give histories in the order of their checkpoints."
        )


def _check_tiles(evaluation: FamilyEvaluation, tiles: Mapping[str, TileScores]) -> None:
    expected = (evaluation.n_tiles, {evaluation.family}) if evaluation.status == "evaluated" else (0, set())
    decoder = tiles.get("decoder")
    found = (len(decoder), set(decoder.family)) if decoder is not None else (0, set())
    if found != expected:
        raise ContractError(
            f"tiles of split {evaluation.split}, family {evaluation.family}: the evaluation has {expected[0]}, "
            f"the table {found[0]} of family {', '.join(sorted(found[1])) or 'none'}. "
            "Give tables in the order of their evaluations."
        )


def _place(settings: Settings, key: Key) -> tuple[int, int, Key]:
    splits, families = list(settings.splits), list(settings.decoder_families)
    split = splits.index(key[0]) if key[0] in splits else len(splits)
    family = families.index(key[1]) if key[1] in families else len(families)
    return split, family, key
