"""Decoders that are evaluated, and the values of all systems on one set of tiles."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from cellvit.errors import IntegrityError, StaleFileError
from cellvit.evaluation.values import (
    class_confusion,
    differences,
    map_sums_of,
    metric_values,
    trivial_values,
    values_by_organ,
)
from cellvit.formats.checkpoints import CheckpointHeader, read_header
from cellvit.formats.content import content_of
from cellvit.formats.digests import remake
from cellvit.formats.documents import Values, read_document
from cellvit.formats.evaluations import FamilyEvaluation
from cellvit.formats.provenance import Provenance
from cellvit.formats.tile_table import TileScores
from cellvit.formats.watershed import WatershedChoice
from cellvit.hover.decode import Watershed, watershed_of_method
from cellvit.hover.parameters import Classical, parameters_of

COMPARED: Final = ("organ_given", "families", "shared", "classical")
"""Systems that a decoder is compared with tile by tile."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """The checkpoint of a decoder and the choice of its watershed."""

    path: Path
    header: CheckpointHeader
    choice: WatershedChoice

    @property
    def watershed(self) -> Watershed:
        """What turns its maps into nuclei; parameters that the choice does not name have their defaults."""
        return watershed_of_method(self.choice.method, self.choice.parameters)

    @property
    def classical(self) -> Classical:
        """The classical baseline, tuned on the same validation tiles."""
        return parameters_of(Classical, "classical", self.choice.classical)


def read_decoder(checkpoint: Path, watershed: Path, *, split: str, family: str, test_folds: Sequence[int]) -> Decoder:
    """The decoder of a family, trained or absent.

    Raises:
        StaleFileError: A file belongs to another split or family, or the watershed to another decoder.
        IntegrityError: The decoder has seen a test fold.
    """
    header = read_unseen(checkpoint, split=split, family=family, test_folds=test_folds)
    decoder = Decoder(checkpoint, header, read_document(watershed, WatershedChoice))
    check_belongs(watershed, decoder.choice, split, family)
    check_made_from(watershed, decoder.choice.provenance, checkpoint)
    return decoder


def read_unseen(path: Path, *, split: str, family: str, test_folds: Sequence[int]) -> CheckpointHeader:
    """Header of the model of a split and family; raises as `read_decoder`."""
    header = read_header(path)
    check_belongs(path, header, split, family)
    seen = sorted({fold for folds in header.folds.values() for fold in folds} & set(test_folds))
    if seen:
        raise IntegrityError(
            f"{path}: test folds must be unseen, but the model has seen fold {', '.join(map(str, seen))} "
            f"({', '.join(f'{role} {list(folds)}' for role, folds in header.folds.items())}), so that its values would "
            f"be too good. Fix: {remake(path)}"
        )
    return header


def shown(values: Values, names: Iterable[str]) -> str:
    """Values as the log shows them; names without a value are left out."""
    return " ".join(f"{name}={values[name].value:.4f}" for name in names if name in values)


class SystemValues(NamedTuple):
    """What the evaluations of a family and of all tiles have in common.

    Attributes:
        systems: Values by system, including the trivial predictions.
        organs: Main values by organ, then by system.
        differences: Paired differences of the evaluated system from the others.
        class_confusion: Nuclei of the evaluated system by true (row) and predicted (column) class.
    """

    systems: dict[str, Values]
    organs: dict[str, dict[str, Values]]
    differences: Values
    class_confusion: tuple[tuple[int, ...], ...]


def system_values(scores: Mapping[str, TileScores], own: str) -> SystemValues:
    """Values of every system; `own` is the evaluated one, on whose tiles the trivial predictions are scored."""
    systems = {name: metric_values(tiles) for name, tiles in scores.items()}
    systems["trivial"] = trivial_values(map_sums_of(scores[own]), groups=scores[own].groups)
    organs: dict[str, dict[str, Values]] = {}
    for name, tiles in scores.items():
        for organ, values in values_by_organ(tiles).items():
            organs.setdefault(organ, {})[name] = values
    others = {name: scores[name] for name in COMPARED if name in scores}
    confusion = class_confusion(scores[own])
    return SystemValues(systems, dict(sorted(organs.items())), differences(scores[own], others), confusion)


def check_belongs(
    path: Path, found: CheckpointHeader | WatershedChoice | FamilyEvaluation, split: str, family: str
) -> None:
    """Refuse a model, watershed or evaluation of another split or family.

    Raises:
        StaleFileError: The file belongs to another one.
    """
    if (found.split, found.family) != (split, family):
        raise StaleFileError(
            f"{path}: the file belongs to another split or family.\n"
            f"  split, family: file has {found.split}, {found.family}, run asks for {split}, {family}\n"
            f"Fix: {remake(path)}"
        )


def check_made_from(path: Path, provenance: Provenance, checkpoint: Path) -> None:
    """Refuse a file that was made with another decoder, as one of another run of the same split and family.

    Raises:
        StaleFileError: The checkpoint is not what the file was made from.
    """
    if (digest := content_of(checkpoint).digest) not in provenance.made_from.values():
        raise StaleFileError(
            f"{path}: expected a file that was made with {checkpoint} ({digest[:12]}), found one of another decoder. "
            f"Fix: {remake(path)}"
        )
