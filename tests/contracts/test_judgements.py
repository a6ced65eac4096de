import numpy as np
import pytest

from cellvit.errors import ContractError
from cellvit.formats.tile_table import TileScores


def tiles(*ids: str, columns: tuple[str, ...] = ("aji", "bpq"), patient: tuple[str, ...] = ()) -> TileScores:
    n = len(ids)
    return TileScores(
        ids, ("Colon",) * n, patient or ("",) * n, ("digestive",) * n, columns, np.arange(2.0 * n).reshape(n, 2)
    )


def test_columns_are_found_by_name() -> None:
    judged = tiles("f1-00000", "f2-00001")

    assert judged.column("bpq").tolist() == [1, 3]
    assert judged.block(("bpq", "aji")).tolist() == [[1, 0], [3, 2]]
    assert judged.fold.tolist() == [1, 2]


def test_parts_put_together_are_the_whole() -> None:
    judged = tiles("f1-00000", "f2-00001", patient=("p1", "p2"))

    parts = [judged.where(judged.fold == fold) for fold in (1, 2)]
    whole = TileScores.none(judged.columns) + parts[0] + parts[1]

    assert whole.tile_id == judged.tile_id
    assert whole.patient == judged.patient
    np.testing.assert_array_equal(whole.values, judged.values)


def test_a_tile_stands_once() -> None:
    with pytest.raises(ContractError, match="twice"):
        tiles("f1-00000", "f1-00000")


def test_columns_must_fit_the_values_and_each_other() -> None:
    with pytest.raises(ContractError, match="do not belong"):
        tiles("f1-00000", columns=("aji",))
    with pytest.raises(ContractError, match="different columns"):
        tiles("f1-00000") + tiles("f1-00001", columns=("aji", "pq"))


def test_groups_are_patients_and_tiles_without_one_stand_alone() -> None:
    judged = tiles("f1-00000", "f1-00001", "f1-00002", "f1-00003", patient=("p2", "", "p1", "p2"))

    assert judged.groups is not None
    assert judged.groups.tolist() == [0, 1, 2, 0]
    assert (judged.n_patients, judged.n_tiles_without_patient) == (2, 1)


def test_without_any_patient_there_are_no_groups() -> None:
    judged = tiles("f1-00000", "f1-00001", "f1-00002", patient=("p1", "", ""))

    assert judged.where(np.array([False, True, True])).groups is None
    assert TileScores.none(judged.columns).groups is None
