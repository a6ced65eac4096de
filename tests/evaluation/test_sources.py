import math

import numpy as np
import pytest

from cellvit.evaluation.sources import values_by_source
from cellvit.evaluation.values import map_sums_of
from cellvit.metrics.intervals import interval_of_difference, interval_of_mean
from cellvit.metrics.maps import COLUMNS as MAP_COLUMNS

SOURCES = ["Lyon"] * 4 + ["Bern"] * 4 + ["Rome"] * 3 + [""]
AJI = [0.6, 0.7, 0.5, 0.8, 0.4, 0.5, 0.3, 0.2, 0.5, 0.6, 0.4, 0.99]


@pytest.fixture
def tiles(scored):
    """Tiles of three sources and one of unknown source; one patient each unless `patients` are given."""

    def make(patients=()):
        rng = np.random.default_rng(0)
        maps = {name: rng.integers(1, 9, len(AJI)) for name in MAP_COLUMNS}
        return scored(["Colon"] * len(AJI), sources=SOURCES, patients=patients, aji=AJI, **maps)

    return make


def test_tiles_of_seen_sources_are_compared_with_all_tiles_of_unseen_ones(tiles):
    found = values_by_source(tiles(), ("Lyon",))

    assert found.trained_on == {"Bern": "unseen", "Lyon": "seen", "Rome": "unseen"}
    assert found.n_tiles == {"Bern": 4, "Lyon": 4, "Rome": 3}
    assert found.values["Rome"]["aji"].value == pytest.approx(0.5)
    by_hand = interval_of_difference(interval_of_mean(np.array(AJI[:4])), interval_of_mean(np.array(AJI[4:11])))
    gap = found.gaps["aji"]
    assert (gap.value, gap.low, gap.high, gap.n, gap.units) == (*by_hand[:3], 11, 4)
    assert 0 < gap.low < gap.value < gap.high
    seen, unseen = (map_sums_of(tiles().rows(np.arange(*rows))) for rows in ((0, 4), (4, 11)))
    assert found.gaps["np_dice"].value == pytest.approx(seen.value("np_dice") - unseen.value("np_dice"))


def test_training_tiles_of_unknown_source_leave_open_what_was_seen(tiles):
    found = values_by_source(tiles(), ("", "Lyon"))

    assert found.trained_on == {"Bern": "unknown", "Lyon": "seen", "Rome": "unknown"}
    assert not found.gaps


def test_a_patient_on_both_sides_leaves_the_gap_without_interval(tiles):
    found = values_by_source(tiles([*"abcd", "a", *"fghijkl"]), ("Lyon",))

    assert not math.isnan(found.values["Lyon"]["aji"].low)
    assert not math.isnan(found.gaps["aji"].value)
    assert math.isnan(found.gaps["aji"].low)


def test_tiles_without_any_source_have_no_values_by_source(scored):
    assert values_by_source(scored(["Colon"] * 3), ("Lyon",)) is None
