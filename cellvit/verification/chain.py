"""Every link of a run, in the order of the graph."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cellvit.taxonomy import POOLED_FAMILY
from cellvit.verification.endings import report_link, summary_link
from cellvit.verification.families import FEATURES_KIND, TARGETS, family_link, family_seal_link, target_check_link
from cellvit.verification.features import feature_check_link, feature_link, know_weights, shard_links
from cellvit.verification.layout import ORGAN_HEAD, decoder_of
from cellvit.verification.links import Link
from cellvit.verification.models import checkpoint_link, trained_link
from cellvit.verification.results import (
    evaluation_link,
    organ_head_evaluation_link,
    routed_link,
    watershed_link,
)
from cellvit.verification.run import Run
from cellvit.verification.tiles import fold_summary_link, tile_link

_FOLDERS: Final = ("tiles", "features", "families", "checkpoints", "watershed", "evaluation", "seals")
"""Folders of products, within the output folder."""


def links(run: Run) -> Iterator[Link]:
    """Links one by one, each judged when it is reached."""
    yield from _of_folds(run)
    for family in run.layout.families:
        yield family_link(run, family, TARGETS)
        yield family_link(run, family, FEATURES_KIND)
        yield family_seal_link(run, family)
        yield target_check_link(run, family)
    for split in run.layout.splits:
        yield from _of_split(run, split)
    yield summary_link(run)
    yield report_link(run)


def strangers(run: Run) -> list[Path]:
    """Files in the folders of products that no step of this run makes, as of a family that was removed."""
    known = set(run.layout.products())
    folders = [run.layout.results / name for name in _FOLDERS]
    found = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in found if path not in known and not _hidden(path.relative_to(run.layout.results))]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _of_folds(run: Run) -> Iterator[Link]:
    for fold in run.layout.folds:
        yield tile_link(run, fold)
        yield fold_summary_link(run, fold)
    know_weights(run)
    for fold in run.layout.folds:
        yield from shard_links(run, fold)
        yield feature_link(run, fold)
        yield feature_check_link(run, fold)


def _of_split(run: Run, split: str) -> Iterator[Link]:
    yield from (trained_link(run, split, ORGAN_HEAD), checkpoint_link(run, split, ORGAN_HEAD))
    yield organ_head_evaluation_link(run, split)
    control_first = sorted(run.layout.families, key=lambda family: family != POOLED_FAMILY)
    for family in control_first:
        model = decoder_of(family)
        yield from (trained_link(run, split, model), checkpoint_link(run, split, model))
        yield watershed_link(run, split, family)
        yield evaluation_link(run, split, family)
    yield routed_link(run, split)
