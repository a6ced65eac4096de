"""Judged systems on one set of tiles -> what their evaluation says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from cellvit.errors import IntegrityError, StaleFileError
from cellvit.evaluation.values import differences, figures, trivial_values, values_by_organ
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.documents import Values
from cellvit.formats.tile_table import TileScores
from cellvit.formats.watershed import WatershedChoice
from cellvit.hover.decode import Watershed
from cellvit.inference.segment import watershed_of
from cellvit.metrics.maps import COLUMNS as MAP_COLUMNS
from cellvit.metrics.maps import MapSums

COMPARED: Final = ("known", "pooled", "classical")
"""Systems that a decoder is compared with tile by tile."""


@dataclass(frozen=True, slots=True)
class DecoderFiles:
    """A decoder with its watershed, as files."""

    path: Path
    header: CheckpointHeader
    watershed_path: Path
    choice: WatershedChoice

    @property
    def watershed(self) -> Watershed:
        """Parameters that turn its maps into nuclei."""
        return watershed_of(self.choice)


class Findings(NamedTuple):
    """What the documents of a family and of all tiles have in common.

    Attributes:
        systems: Values by system, with the trivial answers.
        organs: Main figures by organ, then by system.
        differences: Paired differences of the judged system from the others.
    """

    systems: dict[str, Values]
    organs: dict[str, dict[str, Values]]
    differences: Values


def findings(judged: Mapping[str, TileScores], own: str, *, seed: int) -> Findings:
    """Values of every system; `own` is the one under judgement, whose tiles the trivial answers are scored on."""
    systems = {name: figures(tiles, seed=seed) for name, tiles in judged.items()}
    systems["trivial"] = trivial_values(map_sums_of(judged[own]), seed=seed, groups=judged[own].groups)
    organs: dict[str, dict[str, Values]] = {}
    for name, tiles in judged.items():
        for organ, found in values_by_organ(tiles, seed=seed).items():
            organs.setdefault(organ, {})[name] = found
    others = {name: judged[name] for name in COMPARED if name in judged}
    return Findings(systems, dict(sorted(organs.items())), differences(judged[own], others, seed=seed))


def map_sums_of(tiles: TileScores) -> MapSums:
    """Sums of the maps of judged tiles."""
    return MapSums(tiles.block(MAP_COLUMNS))


def check_unseen(path: Path, header: CheckpointHeader, test_folds: Sequence[int]) -> None:
    """Refuse a model that has seen what it is tested on.

    Raises:
        IntegrityError: A test fold trained the model or chose its epoch.
    """
    seen = sorted({fold for folds in header.folds.values() for fold in folds} & set(test_folds))
    if seen:
        raise IntegrityError(
            f"{path}: test folds must be unseen, but the checkpoint has seen fold {', '.join(map(str, seen))} "
            f"({', '.join(f'{role} {list(folds)}' for role, folds in header.folds.items())}). "
            f"Its figures would be too good. Train it for this split: rm {path} && snakemake -- {path}"
        )


def check_belongs(path: Path, found: CheckpointHeader | WatershedChoice, split: str, family: str) -> None:
    """Refuse a model or watershed of another split or family.

    Raises:
        StaleFileError: It belongs elsewhere.
    """
    if (found.split, found.family) != (split, family):
        raise StaleFileError(
            f"{path}: belongs to another split or family.\n"
            f"  split, family: file has {found.split}, {found.family}, run asks for {split}, {family}\n"
            f"Make it again: rm {path} && snakemake -- {path}"
        )
