import dataclasses
import math

import numpy as np
import pytest

from cellvit.config.evaluation import IntegrityGates
from cellvit.errors import IntegrityError
from cellvit.evaluation.checks import passed_checks
from cellvit.evaluation.system_scores import perfect_maps, scores_of_maps
from cellvit.evaluation.target_checks import (
    MIN_ORGAN_TILES,
    aji_by_organ,
    checked_hv,
    coverage,
    hv_length,
    nuclei_by_class,
    target_results,
    tiles_by_organ,
)
from cellvit.evaluation.values import metric_values
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.documents import Value
from cellvit.hover.parameters import HoverNetWatershed
from cellvit.inference.parallel import Workers

TILES = [[(60, 60, 30, 1), (150, 150, 20, 5)], []]
GATES = IntegrityGates()


@pytest.fixture
def batch(disc_tiles):
    return perfect_maps(disc_tiles(TILES, ["Colon", "Stomach"]))


@pytest.fixture
def scores(batch):
    return scores_of_maps([batch], HoverNetWatershed(), PANNUKE, family="", pool=Workers(None, 1))


def upper_bound(**aji: float):
    return {method: {"aji": Value(value=value, n=9)} for method, value in aji.items()}


def failed(results) -> list[str]:
    return [result.name for result in results if not result.passed]


def test_valid_targets_pass_every_check(batch, scores) -> None:
    values, by_organ = metric_values(scores), aji_by_organ({"hovernet": scores})

    checks = passed_checks("fold", target_results(scores, {"hovernet": values}, by_organ, GATES), fix="")

    assert checked_hv(batch) is batch
    assert [check.name for check in checks] == ["hv", "np_coverage", "upper_bound_aji", "upper_bound_aji_by_organ"]


def test_targets_are_counted(scores, batch) -> None:
    assert tiles_by_organ(scores) == {"Colon": 1, "Stomach": 1}
    assert {name: n for name, n in nuclei_by_class(scores, PANNUKE).items() if n} == {"Neoplastic": 1, "Epithelial": 1}
    assert coverage(scores) == pytest.approx((batch.tiles.instances > 0).mean())
    assert hv_length(scores) == pytest.approx(0.67, abs=0.02)


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        pytest.param(lambda hv: hv.astype(np.float64), "hv_dtype", id="dtype"),
        pytest.param(lambda hv: np.where(hv > 0.9, np.nan, hv).astype(np.float32), "hv_finite", id="not_finite"),
        pytest.param(lambda hv: hv * np.float32(1.01), "hv_range", id="beyond_one"),
        pytest.param(lambda hv: np.roll(hv, 9, axis=-1), "hv_outside", id="shifted"),
    ],
)
def test_an_invalid_hv_map_stops_the_run_and_names_the_check_and_the_tile(batch, spoil, check) -> None:
    spoiled = dataclasses.replace(batch, hv=spoil(batch.hv))

    with pytest.raises(IntegrityError, match=rf"(?s)f3-00000: .*{check}: expected .* found .* Likely cause"):
        checked_hv(spoiled)


def test_background_counted_as_nuclei_fails(scores) -> None:
    results = target_results(scores, upper_bound(hovernet=0.9), {}, IntegrityGates(np_coverage=(0.001, 0.01)))

    assert failed(results) == ["np_coverage"]
    with pytest.raises(IntegrityError, match=r"(?s)np_coverage: .* found .*background channel.*Fix: look"):
        passed_checks("fold", results, fix="look")


def test_the_upper_bound_fails_if_both_methods_are_below_the_limit(scores) -> None:
    low, one = upper_bound(hovernet=0.09, hv_flow=0.09), upper_bound(hovernet=0.09, hv_flow=0.9)

    assert failed(target_results(scores, low, {}, GATES)) == ["upper_bound_aji"]
    assert failed(target_results(scores, one, {}, GATES)) == []


def test_an_organ_fails_alone_if_it_has_enough_tiles(scores) -> None:
    def by_organ(n: int) -> dict[str, Value]:
        return {"Colon": Value(value=0.95, n=50), "Skin": Value(value=0.4, n=n)}

    *_, organ = target_results(scores, upper_bound(hovernet=0.9), by_organ(MIN_ORGAN_TILES), GATES)
    few = target_results(scores, upper_bound(hovernet=0.9), by_organ(MIN_ORGAN_TILES - 1), GATES)

    assert not organ.passed
    assert "0.4000 (Skin)" in organ.found
    assert failed(few) == []


def test_the_better_method_counts_for_each_organ(scored) -> None:
    organs = ["Colon", "Colon", "Skin", "Liver"]
    first = scored(organs, aji=[0.5, 0.7, 0.9, math.nan])
    second = scored(organs, aji=[0.9, 0.9, 0.1, math.nan])

    values = aji_by_organ({"hovernet": first, "hv_flow": second})

    assert {organ: (value.value, value.n) for organ, value in values.items() if organ != "Liver"} == {
        "Colon": (0.9, 2),
        "Skin": (0.9, 1),
    }
    assert values["Liver"].n == 0


def test_without_nuclei_nothing_is_checked_or_defined(scores) -> None:
    none = scores.where(np.zeros(2, bool))

    assert target_results(none, {"hovernet": metric_values(none)}, {}, GATES) == []
    assert math.isnan(coverage(none))
    assert math.isnan(hv_length(none))
