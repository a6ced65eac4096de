import dataclasses

import numpy as np
import pytest
from nuclei_fields import all_candidates, maps_of, random_field

from cellvit.errors import ContractError
from cellvit.formats.nuclei import NucleiTable
from cellvit.hover.relabel import relabel


@pytest.fixture(scope="module")
def nuclei() -> NucleiTable:
    labels = random_field(256, 256, seed=5)
    labels[100:110, 100:110], labels[103:106, 103:106] = labels.max() + 1, 0
    return all_candidates(*maps_of(relabel(labels)))


def same(one: NucleiTable, other: NucleiTable) -> bool:
    columns = all(np.array_equal(values, other.columns()[name]) for name, values in one.columns().items())
    outlines = (dataclasses.asdict(table.outlines) for table in (one, other))
    first, second = outlines
    return columns and all(np.array_equal(values, second[name]) for name, values in first.items())


def test_parts_joined_again_are_the_whole(nuclei: NucleiTable) -> None:
    first = np.arange(len(nuclei)) < 7

    assert nuclei.outlines.ring_is_hole.any()
    assert same(NucleiTable.concatenated([nuclei.at(first), nuclei.at(~first)]), nuclei)
    assert same(NucleiTable.concatenated([NucleiTable.none(2), nuclei, NucleiTable.none(2)]), nuclei)


def test_nuclei_in_another_order_and_back_are_the_same(nuclei: NucleiTable) -> None:
    order = np.random.default_rng(0).permutation(len(nuclei))

    assert same(nuclei.at(order).at(np.argsort(order)), nuclei)


def test_one_nucleus_has_its_own_outline(nuclei: NucleiTable) -> None:
    one = nuclei.at(np.array([3]))

    [low, high] = one.outlines.points.min(axis=0) / 2, one.outlines.points.max(axis=0) / 2
    assert low[0] < one.x[0] < high[0]
    assert low[1] < one.y[0] < high[1]
    assert one.outlines.ring_nucleus.tolist() == [0]


def test_no_nuclei_are_a_table_too(nuclei: NucleiTable) -> None:
    assert same(nuclei.at(np.zeros(len(nuclei), bool)), NucleiTable.none(2))


def test_columns_of_different_length_are_refused(nuclei: NucleiTable) -> None:
    with pytest.raises(ContractError, match="columns of one length"):
        dataclasses.replace(nuclei, x=nuclei.x[1:])
