import math

import numpy as np
import pytest

from cellvit.errors import ContractError, MissingInputError
from cellvit.formats.tile_table import TileScores, read_tile_scores, write_tile_scores

COLUMNS = ("n_true", "aji", "bpq")


def tiles(values: list[list[float]]) -> TileScores:
    n = len(values)
    ids = tuple(f"f3-{row:05d}" for row in range(n))
    patients = tuple(f'Müller, "{row}"' if row else "" for row in range(n))
    return TileScores(ids, ("Bile-duct",) * n, patients, ("digestive",) * n, COLUMNS, np.array(values).reshape(n, 3))


def test_what_is_written_is_read_bit_for_bit(tmp_path) -> None:
    decoder, classical = tiles([[3, 0.1 + 0.2, math.nan], [0, math.nan, 1e-17]]), tiles([[3, 1 / 3, 0.5]])

    write_tile_scores(tmp_path / "t.csv", {"decoder": decoder, "classical": classical}, COLUMNS)
    found = read_tile_scores(tmp_path / "t.csv", COLUMNS)

    assert list(found) == ["decoder", "classical"]
    np.testing.assert_array_equal(found["decoder"].values, decoder.values)
    np.testing.assert_array_equal(found["classical"].values, classical.values)
    assert found["decoder"].tile_id == decoder.tile_id
    assert found["decoder"].fold.tolist() == [3, 3]
    assert found["decoder"].patient == decoder.patient == ("", 'Müller, "1"')


def test_undefined_is_an_empty_cell_and_counts_are_whole_numbers(tmp_path) -> None:
    write_tile_scores(tmp_path / "t.csv", {"decoder": tiles([[3, math.nan, 0.5]])}, COLUMNS)

    header, line = (tmp_path / "t.csv").read_text().splitlines()

    assert header == "tile_id,organ,fold,patient,family,system,n_true,aji,bpq"
    assert line == "f3-00000,Bile-duct,3,,digestive,decoder,3,,0.5"


def test_a_file_with_the_header_alone_holds_no_system(tmp_path) -> None:
    write_tile_scores(tmp_path / "t.csv", {}, COLUMNS)

    assert read_tile_scores(tmp_path / "t.csv", COLUMNS) == {}


def test_other_columns_are_named_with_the_remedy(tmp_path) -> None:
    write_tile_scores(tmp_path / "t.csv", {}, ("n_true", "pq"))

    with pytest.raises(ContractError, match=r"aji, bpq, pq. Make it again: rm"):
        read_tile_scores(tmp_path / "t.csv", COLUMNS)


def test_a_missing_file_says_how_to_make_it(tmp_path) -> None:
    with pytest.raises(MissingInputError, match="snakemake -- "):
        read_tile_scores(tmp_path / "t.csv", COLUMNS)
