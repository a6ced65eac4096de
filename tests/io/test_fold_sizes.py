from pathlib import Path

import pytest

from cellvit.config.data import Split
from cellvit.formats.documents import read_document, write_document
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import FoldSummary
from cellvit.workflow.fold_sizes import Tiles

FOLDS = {1: {"Colon": 2000, "Breast": 656}, 2: {"Colon": 1, "Stomach": 4}, 3: {"Breast": 1}}


@pytest.fixture
def tiles(tmp_path: Path) -> Tiles:
    """Sizes of three folds, whose summaries are there."""
    for fold, organs in FOLDS.items():
        summary = FoldSummary(
            provenance=Provenance(),
            fold=fold,
            n_tiles=sum(organs.values()),
            tiles_by_organ=organs,
            nuclei_by_class={},
            coverage=0.1,
            empty_tiles=(),
            overlap_px=0,
            nuclei_painted_over=0,
            background_mismatch_px=0,
        )
        write_document(tmp_path / "tiles" / f"fold{fold}.json", summary)
    split = Split.model_validate({"train": [1, 2], "validate": 3, "test": 4})
    return Tiles(tmp_path, (1, 2, 3), {"gut": ("Colon", "Stomach"), "breast": ("Breast",)}, {"1": split})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("fold 1", "2,656 tiles"),
        ("folds all", "2,662 tiles"),
        ("split 1 role train", "2,661 tiles"),
        ("family gut folds all", "2,005 tiles"),
        ("family gut split 1 role train", "2,005 tiles"),
        ("family gut split 1 role validate", "0 tiles"),
        ("family breast split 1 role validate", "1 tile"),
    ],
)
def test_tiles_are_counted_by_fold_split_role_and_family(tiles: Tiles, asked: str, said: str) -> None:
    assert f"{tiles:{asked}}" == said


def test_what_is_not_known_yet_fails_no_message(tiles: Tiles) -> None:
    (tiles.results / "tiles" / "fold3.json").write_text('{"format": "of another version"}')

    assert f"{tiles:split 1 role test}" == "all its tiles", "there is no fold 4"
    assert f"{tiles:fold 3}" == "all its tiles"


def test_a_summary_that_changes_is_read_again(tiles: Tiles) -> None:
    path = tiles.results / "tiles" / "fold3.json"

    write_document(path, read_document(path, FoldSummary).model_copy(update={"n_tiles": 7}))

    assert f"{tiles:fold 3}" == "7 tiles"
