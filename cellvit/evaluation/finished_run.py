"""A finished run or an archive of one: its settings, its test tiles and the scores of these tiles."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from cellvit.config.base import flattened
from cellvit.config.settings import Settings, load_settings
from cellvit.errors import MissingInputError, StaleFileError
from cellvit.evaluation.scoring import columns_of
from cellvit.evaluation.systems import check_belongs
from cellvit.formats.content import content_of
from cellvit.formats.digests import check_table, check_unchanged
from cellvit.formats.documents import AnyDocument, read_document
from cellvit.formats.evaluations import ORGAN_GIVEN, ORGAN_PREDICTED, FamilyEvaluation, RoutedEvaluation
from cellvit.formats.not_a_file import not_a_file
from cellvit.formats.page import page_digest, read_page_provenance
from cellvit.formats.provenance import Provenance
from cellvit.formats.tile_table import TileScores, read_tile_scores

OWN: Final = "decoder"
"""System that a family's evaluation is about."""


class Scored(NamedTuple):
    """What a set of tile scores belongs to; family and system as in `cellvit.formats.comparison.ComparedRow`."""

    split: str
    family: str
    system: str


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """An output folder with a report, which records the settings of the run and the digest of each document.

    Attributes:
        provenance: That of the report.
    """

    folder: Path
    settings: Settings
    provenance: Provenance

    @property
    def page(self) -> Path:
        """The report."""
        return _page(self.folder)

    @property
    def flat_settings(self) -> dict[str, object]:
        """Settings by dotted key, without those that decide no result, and with the version of the software."""
        flat = flattened(self.settings.model_dump(mode="json", by_alias=True))
        unread = ("device", "results", "cache.")
        decisive = {key: value for key, value in flat.items() if not key.startswith(unread)}
        return decisive | {"version of the software": self.provenance.software}

    def has(self, name: str) -> bool:
        """Whether the report was built from the document at this path in the folder."""
        return os.path.relpath(self.folder / name, self.page.parent) in self.provenance.made_from

    def document(self, name: str, kind: type[AnyDocument]) -> AnyDocument:
        """A document of this run by its path in the folder.

        Raises:
            StaleFileError: The report was built from another version of it, so that its settings may be others.
        """
        path = self.folder / name
        document = read_document(path, kind)
        expected = self.provenance.made_from.get(os.path.relpath(path, self.page.parent), "none")
        found = content_of(path).digest
        if found != expected:
            raise StaleFileError(
                f"{path}: the report of this run was built from another version of this file, so that its settings may be "
                f"others.\n  digest: the report names {expected[:12]}, the file has {found[:12]}\n"
                "Fix: finish the run (snakemake --cores all), then compare again"
            )
        return document


def read_run(folder: Path) -> FinishedRun:
    """The run in an output folder or archive.

    Raises:
        MissingInputError: The report does not exist.
        IntegrityError: The report was changed after it was written.
        SettingsError: Its settings are those of another version of this software.
    """
    page = _page(folder)
    if not page.exists():
        found = not_a_file(page) if folder.is_dir() else "no such folder"
        raise MissingInputError(
            f"{page}: expected the page of a finished run, found {found}. "
            "Fix: correct the name of the folder, or finish the run that writes it"
        )
    provenance = read_page_provenance(page)
    check_unchanged(page, page_digest(page))
    return FinishedRun(folder, load_settings(provenance.settings["settings"]), provenance)


def scores_of(run: FinishedRun) -> dict[Scored, TileScores]:
    """Scores of the test tiles of every split, family and system; absent families have none."""
    found: dict[Scored, TileScores] = {}
    for split in run.settings.splits:
        for family in run.settings.decoder_families:
            for system, tiles in _systems(run, split, family, _evaluation(run, split, family)):
                found[Scored(split, family, system)] = tiles
        if not run.has(f"evaluation/split{split}/routed.json"):  # one decoder
            continue
        routed = run.document(f"evaluation/split{split}/routed.json", RoutedEvaluation)
        for system, tiles in _systems(run, split, "routed", routed):
            own = system in (ORGAN_PREDICTED, ORGAN_GIVEN)
            found[Scored(split, system, OWN) if own else Scored(split, ORGAN_PREDICTED, system)] = tiles
    return found


def tiles_tested_by(run: FinishedRun) -> dict[str, dict[str, str]]:
    """Digest of the tiles of each test fold, by split and then by the name of the fold."""
    family = next(iter(run.settings.decoder_families))
    return {split: _test_tiles(run, split, _evaluation(run, split, family)) for split in run.settings.splits}


def _page(folder: Path) -> Path:
    return folder / "report" / "index.html"


def _evaluation(run: FinishedRun, split: str, family: str) -> FamilyEvaluation:
    name = f"evaluation/split{split}/{family}.json"
    evaluation = run.document(name, FamilyEvaluation)
    check_belongs(run.folder / name, evaluation, split, family)
    return evaluation


def _test_tiles(run: FinishedRun, split: str, evaluation: FamilyEvaluation) -> dict[str, str]:
    tested = {f"fold{fold}" for fold in run.settings.splits[split].test}
    made_from = {Path(name): digest for name, digest in evaluation.provenance.made_from.items()}
    tiles = {path.stem: digest for path, digest in made_from.items() if path.parent.name == "tiles"}
    return {fold: digest for fold, digest in tiles.items() if fold in tested}


def _systems(
    run: FinishedRun, split: str, name: str, evaluation: FamilyEvaluation | RoutedEvaluation
) -> Iterator[tuple[str, TileScores]]:
    table = run.folder / f"evaluation/split{split}/{name}_tiles.csv"
    check_table(table, evaluation.tables, "tiles")
    yield from read_tile_scores(table, columns_of(evaluation.dataset)).items()
