"""Matched nuclei, temperature, reliability and bounds of counts, from maps and numbers that are written by hand."""

import math

import numpy as np
import pytest
from simulated_nuclei import simulated

from cellvit.evaluation.calibration import (
    Nuclei,
    TileFindings,
    TileMaps,
    count_bounds,
    findings_of,
    reliability_of,
    unit_counts,
    worst_scores,
)
from cellvit.evaluation.calibration_pooling import pooled
from cellvit.evaluation.system_scores import perfect_maps
from cellvit.formats.calibration import DecoderCalibration, UnitCounts
from cellvit.formats.dataset import NOT_ANNOTATED
from cellvit.formats.provenance import Provenance
from cellvit.hover.decode import watershed_of_method
from cellvit.inference.predictions import Segmentation

WATERSHED = watershed_of_method("hovernet", {})
CLASSES = ("Neoplastic", "Inflammatory", "Connective", "Dead", "Epithelial")


def maps_of(tiles, truth=None) -> TileMaps:
    """Perfect maps of the first tile, with another ground truth if one is given."""
    perfect = perfect_maps(tiles)
    truth = truth or Segmentation(tiles.instances[0], tiles.classes[0])
    return TileMaps(truth, perfect.np_prob[0], perfect.hv[0], perfect.nt_prob[0])


@pytest.fixture
def two_nuclei(disc_tiles):
    return disc_tiles([[(60, 60, 20, 1), (160, 160, 20, 3)]])


def test_perfect_maps_match_every_nucleus_with_its_class(two_nuclei):
    found = findings_of(WATERSHED, 5, maps_of(two_nuclei))

    assert found.nuclei.true_class.tolist() == found.nuclei.predicted_class.tolist() == [1, 3]
    assert found.nuclei.probability.argmax(axis=1).tolist() == [0, 2]
    assert found.true.tolist() == found.predicted.tolist() == [2, 1, 0, 1, 0, 0]


def test_a_nucleus_that_overlaps_too_little_is_counted_and_not_matched(two_nuclei, disc_tiles):
    moved = disc_tiles([[(60, 80, 20, 1), (160, 160, 20, 2)]])

    found = findings_of(WATERSHED, 5, maps_of(two_nuclei, Segmentation(moved.instances[0], moved.classes[0])))

    assert (found.nuclei.true_class.tolist(), found.nuclei.predicted_class.tolist()) == ([2], [3])
    assert found.true.tolist() == [2, 1, 1, 0, 0, 0]
    assert found.predicted.tolist() == [2, 1, 0, 1, 0, 0]


def test_predictions_where_nothing_is_annotated_count_nowhere(two_nuclei):
    instances, classes = two_nuclei.instances[0].copy(), two_nuclei.classes[0].copy()
    instances[:, 110:], classes[:, 110:] = 0, NOT_ANNOTATED

    found = findings_of(WATERSHED, 5, maps_of(two_nuclei, Segmentation(instances, classes)))

    assert found.is_annotated
    assert found.nuclei.true_class.tolist() == [1]
    assert found.true.tolist() == found.predicted.tolist() == [1, 1, 0, 0, 0, 0]


def test_the_probability_of_a_nucleus_follows_it_when_another_one_is_left_out(two_nuclei):
    instances, classes = two_nuclei.instances[0].copy(), two_nuclei.classes[0].copy()
    instances[:110], classes[:110] = 0, NOT_ANNOTATED
    instances[instances == 2] = 1

    found = findings_of(WATERSHED, 5, maps_of(two_nuclei, Segmentation(instances, classes)))

    assert found.nuclei.true_class.tolist() == found.nuclei.predicted_class.tolist() == [3]
    assert found.nuclei.probability.argmax(axis=1).tolist() == [2]


def test_a_tile_that_is_not_annotated_is_no_unit(two_nuclei):
    nothing = Segmentation(np.zeros((256, 256), np.int32), np.full((256, 256), NOT_ANNOTATED, np.uint8))
    tiles = [findings_of(WATERSHED, 5, maps_of(two_nuclei, truth)) for truth in (None, nothing)]

    units = unit_counts(tiles, ["a", "b"], CLASSES)

    assert [one.unit for one in units] == ["a"]


def test_reliability_counts_the_probability_of_the_predicted_class_in_ten_bins():
    probability = np.float32([[0.75, 0.25], [0.25, 0.75], [0.0, 1.0], [0.45, 0.55]])
    nuclei = Nuclei(probability, np.array([1, 2, 2, 1]), np.array([1, 1, 2, 2]))  # the last is voted against its mean

    found = reliability_of(nuclei, 1.0)

    assert [one.n for one in found.bins] == [0, 0, 0, 0, 1, 0, 0, 2, 0, 1]
    assert found.bins[7].mean_probability == 0.75
    assert (found.bins[7].accuracy, found.bins[4].accuracy) == (0.5, 0)
    assert math.isnan(found.bins[0].accuracy)
    assert found.error == pytest.approx((2 * 0.25 + 0 + 0.45) / 4)


def test_reliability_without_nuclei_is_undefined():
    found = reliability_of(Nuclei.concatenated([], 3), 2.0)

    assert found.n == 0
    assert math.isnan(found.error)


def findings(true: list[int], predicted: list[int]) -> TileFindings:
    return TileFindings(Nuclei.concatenated([], 2), np.array(true), np.array(predicted), is_annotated=True)


def test_the_tiles_of_a_patient_are_added():
    tiles = [findings([3, 1, 2], [2, 0, 2]), findings([5, 5, 0], [5, 5, 0]), findings([1, 1, 0], [4, 2, 2])]

    units = unit_counts(tiles, ["p", "q", "p"], ("A", "B"))

    assert [one.model_dump() for one in units] == [
        {"unit": "p", "true": {"all": 4, "A": 2, "B": 2}, "predicted": {"all": 6, "A": 2, "B": 4}},
        {"unit": "q", "true": {"all": 5, "A": 5, "B": 0}, "predicted": {"all": 5, "A": 5, "B": 0}},
    ]


def test_a_class_that_is_called_all_does_not_replace_the_count_of_all_nuclei():
    (unit,) = unit_counts([findings([3, 1, 2], [2, 0, 2])], ["p"], ("all", "B"))

    bounds = count_bounds([unit], [], ("all", "B"))

    assert unit.true == {"all": 3, "B": 2}
    assert [one.class_name for one in bounds] == ["all", "B"]


def units(errors: list[int], prefix: str = "v") -> list[UnitCounts]:
    """Units with 9 predicted nuclei, so that an error of 1 is a share of 0.1."""
    return [
        UnitCounts(unit=f"{prefix}{n}", true={"all": 9 + error, "A": 9}, predicted={"all": 9, "A": 9})
        for n, error in enumerate(errors)
    ]


def test_bounds_come_from_validation_units_and_are_checked_on_test_units():
    of_all, of_class = count_bounds(units([*range(9)]), units([0, 8, 9, 20], "t"), ("A",))

    assert (of_all.class_name, of_all.share, of_all.n_units) == ("all", 0.8, 9)
    assert (of_all.test_covered, of_all.test_n) == (2, 4)
    assert (of_class.class_name, of_class.share, of_class.test_covered) == ("A", 0, 4)


def test_with_one_patient_there_is_no_bound_and_nothing_is_checked():
    bound, _ = count_bounds(units([1]), units([0, 0], "t"), ("A",))

    assert math.isnan(bound.share)
    assert (bound.n_units, bound.test_n) == (1, 0)


def test_a_class_that_occurs_nowhere_has_no_bound_although_all_its_errors_are_zero():
    empty = [UnitCounts(unit=f"v{n}", true={"all": 3, "A": 0}, predicted={"all": 3, "A": 0}) for n in range(20)]

    of_all, of_class = count_bounds(empty, empty, ("A",))

    assert (of_all.share, of_all.n_units) == (0, 20)
    assert math.isnan(of_class.share)
    assert (of_class.n_units, of_class.test_n) == (0, 0)


def calibration(split: str, **fields) -> DecoderCalibration:
    return DecoderCalibration(
        provenance=Provenance(), split=split, family="all", **{"status": "fitted", "unit": "patient"} | fields
    )


def test_the_final_temperature_is_the_geometric_mean_weighted_by_nuclei():
    found = pooled(
        [calibration("1", temperature=2.0, n_nuclei=300), calibration("2", temperature=0.5, n_nuclei=100)], ()
    )

    assert found["temperature"] == pytest.approx(2**0.5)
    assert found["n_nuclei"] == 400
    assert "splits 1, 2" in found["note"]


def test_a_unit_that_validates_in_two_splits_counts_once_with_its_greatest_error():
    both = [*units([1, 2, 3]), *units([3, 1, 3])]

    assert worst_scores(both, "all").tolist() == [0.3, 0.2, 0.3]


def test_final_bounds_come_from_all_units_and_their_coverage_is_the_sum_of_the_tests():
    one, other = units([0, 1, 2, 3, 4], "v"), units([5, 6, 7, 8], "w")
    splits = [
        calibration("1", units=one, counts=count_bounds(units([*range(9)]), units([0, 20], "t"), ("A",))),
        calibration("2", units=other, counts=count_bounds(units([*range(9)]), units([0, 1], "t"), ("A",))),
    ]

    found = pooled(splits, ("A",))

    assert [(one.share, one.n_units, one.test_covered, one.test_n) for one in found["counts"]] == [
        (0.8, 9, 3, 4),
        (0.0, 9, 4, 4),
    ]


def test_final_reliability_is_that_of_the_nuclei_of_all_tests():
    nuclei = [simulated(400, 2.0, seed) for seed in (1, 2)]
    splits = [calibration(str(n), before=reliability_of(part, 1.0)) for n, part in enumerate(nuclei)]

    found = pooled(splits, ())

    together = reliability_of(Nuclei.concatenated(nuclei, 4), 1.0)
    assert found["before"].n == 800
    assert found["before"].error == pytest.approx(together.error)
    assert found["after"] is None


def test_without_a_calibration_of_any_split_the_final_one_is_absent_with_the_reasons():
    found = pooled([calibration("1", status="absent", reason="no validation tiles")], ())

    assert found["status"] == "absent"
    assert "split 1: no validation tiles" in found["reason"]
