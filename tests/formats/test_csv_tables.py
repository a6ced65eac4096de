"""CSV tables: numbers come back bit for bit, undefined ones are empty cells, and other tables are refused."""

import math

import numpy as np
import pytest

from cellvit.errors import ContractError, MissingInputError
from cellvit.formats.summary import SummaryRow, read_summary, write_summary
from cellvit.formats.tile_table import TileScores, read_tile_scores, write_tile_scores

COLUMNS = ("n_true", "aji", "bpq")


def tiles(values: list[list[float]]) -> TileScores:
    n = len(values)
    texts = {
        "tile_id": [f"f3-{row:05d}" for row in range(n)],
        "organ": ["Bile-duct"] * n,
        "patient": [f'Müller, "{row}"' if row else "" for row in range(n)],
        "source": ["A, B" if row else "" for row in range(n)],
        "origin": ["=a.png x=0 y=0" if row else "'b.png" for row in range(n)],
        "family": ["digestive"] * n,
    }
    return TileScores.of(texts, COLUMNS, np.array(values, float).reshape(n, 3))


def test_scores_of_tiles_are_read_bit_for_bit_as_written(tmp_path) -> None:
    decoder, classical = tiles([[3, 0.1 + 0.2, math.nan], [0, math.nan, 1e-17]]), tiles([[3, 1 / 3, 0.5]])

    write_tile_scores(tmp_path / "t.csv", {"decoder": decoder, "classical": classical}, COLUMNS)
    found = read_tile_scores(tmp_path / "t.csv", COLUMNS)

    assert list(found) == ["decoder", "classical"]
    np.testing.assert_array_equal(found["decoder"].block(COLUMNS), decoder.block(COLUMNS))
    np.testing.assert_array_equal(found["classical"].block(COLUMNS), classical.block(COLUMNS))
    assert found["decoder"].text("patient") == decoder.text("patient") == ("", 'Müller, "1"')


def test_an_undefined_score_is_an_empty_cell_and_whole_numbers_have_no_point(tmp_path) -> None:
    write_tile_scores(tmp_path / "t.csv", {"decoder": tiles([[3, math.nan, 0.5]])}, COLUMNS)

    assert (tmp_path / "t.csv").read_text().splitlines() == [
        "tile_id,organ,fold,patient,source,origin,family,system,n_true,aji,bpq",
        "f3-00000,Bile-duct,3,,,''b.png,digestive,decoder,3,,0.5",
    ]


def test_a_table_of_tiles_with_the_header_alone_has_no_system(tmp_path) -> None:
    write_tile_scores(tmp_path / "t.csv", {}, COLUMNS)

    assert read_tile_scores(tmp_path / "t.csv", COLUMNS) == {}


def test_tiles_are_selected_and_joined_and_none_may_be_twice() -> None:
    first = tiles([[1, 0.1, 0.2], [2, 0.3, 0.4]])

    last = first.where(np.array([False, True]))

    assert last.text("tile_id") == ("f3-00001",)
    assert (first.rows(np.array([0])) + last).table.equals(first.table)
    assert len(TileScores.none(COLUMNS) + first) == 2
    with pytest.raises(ContractError, match="every tile must have one row"):
        first + last


def test_rows_of_the_summary_are_read_bit_for_bit_as_written(tmp_path) -> None:
    rows = (
        SummaryRow("1", "digestive", "aji", 0.1 + 0.2, 0.25, 1e-17, 0.1, 0.5, 99, 7, "partial", 3, 0.1 + 0.2),
        SummaryRow("1", "digestive", "bpq.shared", 5e-324, 0.4, 1 / 3, 0.1, 0.5, 99, 7, "", 3, 1e-17),
    )

    write_summary(tmp_path / "summary.csv", rows)

    assert read_summary(tmp_path / "summary.csv") == rows
    assert (
        "0.30000000000000004,0.25,1e-17,0.1,0.5,99,7,partial,3,0.30000000000000004"
        in (tmp_path / "summary.csv").read_text()
    )


def test_undefined_numbers_of_the_summary_are_empty_cells(tmp_path) -> None:
    write_summary(
        tmp_path / "summary.csv",
        [SummaryRow("1", "NA", "aji", math.nan, math.nan, 3.0, math.nan, math.nan, 0, 0, "undefined")],
    )

    text = (tmp_path / "summary.csv").read_text()
    assert text == (
        "split,family,metric,value,low,high,split_min,split_max,n,units,gate,seeds,seed_sd\n"
        "1,NA,aji,,,3.0,,,0,0,undefined,1,\n"
    )
    (row,) = read_summary(tmp_path / "summary.csv")
    assert math.isnan(row.value)
    assert row.family == "NA"


@pytest.mark.parametrize("read", [read_summary, lambda path: read_tile_scores(path, COLUMNS)])
def test_other_columns_and_a_missing_file_are_refused_with_the_fix(tmp_path, read) -> None:
    write_tile_scores(tmp_path / "other.csv", {}, ("n_true", "pq"))

    with pytest.raises(ContractError, match="Fix: rm"):
        read(tmp_path / "other.csv")
    with pytest.raises(MissingInputError, match="Fix: snakemake -- "):
        read(tmp_path / "missing.csv")
