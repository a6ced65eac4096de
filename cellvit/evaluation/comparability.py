"""Whether runs may be compared, because their test tiles are the same, and which of their settings differ."""

from collections.abc import Mapping
from typing import Final

from cellvit.errors import ContractError
from cellvit.evaluation.finished_run import FinishedRun, Scored, scores_of, tiles_tested_by
from cellvit.formats.tile_table import TileScores

_SHOWN_TILES: Final = 8
_NOT_SET: Final = "not set"


def check_same_tiles(a: FinishedRun, b: FinishedRun) -> None:
    """Refuse runs whose test tiles differ: a difference of values would not be one of the models.

    Raises:
        ContractError: The runs have no split in common, or a test fold of one of them differs.
    """
    first, second = tiles_tested_by(a), tiles_tested_by(b)
    common = [split for split in first if split in second]
    if not common:
        raise ContractError(
            f"{a.folder} and {b.folder} have no split in common: {', '.join(first)} and {', '.join(second)}. "
            "Fix: use the same splits in both runs"
        )
    for split in common:
        folds = sorted(first[split].keys() | second[split].keys())
        differing = [fold for fold in folds if first[split].get(fold) != second[split].get(fold)]
        if differing:
            raise ContractError(
                f"{a.folder} and {b.folder} cannot be compared, because their ground truth differs.\n"
                f"  split {split}, {', '.join(differing)}: {_differing_tiles(a, b, split)}\n"
                "Fix: make both runs from the same folds of tiles"
            )


def differing_settings(a: FinishedRun, b: FinishedRun) -> dict[str, tuple[str, str]]:
    """Settings that differ and decide results, as texts of A and B, by dotted key."""
    first, second = a.flat_settings, b.flat_settings
    keys = [key for key in first | second if first.get(key, _NOT_SET) != second.get(key, _NOT_SET)]
    return {key: (str(first.get(key, _NOT_SET)), str(second.get(key, _NOT_SET))) for key in keys}


def _differing_tiles(a: FinishedRun, b: FinishedRun, split: str) -> str:
    """Which test tiles differ, as far as the tables of scores show it."""
    first, second = (_true_tiles(scores_of(run), split) for run in (a, b))
    ids = sorted(tile for tile in first.keys() | second.keys() if first.get(tile) != second.get(tile))
    if not ids:
        return "the tiles have the same ids, organs and numbers of nuclei, but other images, contours or classes"
    more = f" and {len(ids) - _SHOWN_TILES} more" if len(ids) > _SHOWN_TILES else ""
    return f"other tiles, organs, patients or numbers of nuclei: {', '.join(ids[:_SHOWN_TILES])}{more}"


def _true_tiles(scores: Mapping[Scored, TileScores], split: str) -> dict[str, tuple[object, ...]]:
    """Organ, patient and number of true nuclei of every scored tile of a split."""
    columns = ["tile_id", "organ", "patient", "n_true"]
    # -1 for tiles that are not annotated: NaN is equal to nothing
    tables = [tiles.table[columns].fillna({"n_true": -1}) for key, tiles in scores.items() if key.split == split]
    return {row[0]: row[1:] for table in tables for row in table.itertuples(index=False, name=None)}
