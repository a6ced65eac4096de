"""Texts that spreadsheets take for formulas."""

from pathlib import Path

import pytest

from cellvit.formats.cells import cell_text, safe_cell
from cellvit.formats.own_tiles import OwnTile, write_own_tiles


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(1)", "＝1+1", "－1", "\t=1", "'=1", "'s-Hertogenbosch", "TCGA-A1", ""]
)
def test_a_text_is_no_formula_and_comes_back_as_it_was(text: str) -> None:
    cell = safe_cell(text)

    assert cell[:1] not in ("=", "+", "-", "@", "＝", "－", "\t")
    assert cell_text(cell) == text


def test_a_path_that_begins_like_a_formula_is_written_as_the_same_path(tmp_path: Path) -> None:
    write_own_tiles(tmp_path / "tiles.csv", [OwnTile("=1.png", "masks/=1.png"), OwnTile("-2.png", "2.png")])

    assert (tmp_path / "tiles.csv").read_text().splitlines()[1:] == ["./=1.png,masks/=1.png,,,", "./-2.png,2.png,,,"]
