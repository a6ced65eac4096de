import dataclasses
import math

import numpy as np
import pytest

from cellvit.config.evaluation import IntegrityGates
from cellvit.errors import IntegrityError
from cellvit.evaluation.measuring import judge_maps, perfect_maps
from cellvit.evaluation.target_checks import (
    checked_hv,
    checks_of,
    coverage,
    nuclei_by_class,
    oracle_figures,
    tiles_by_fold,
    tiles_by_organ,
    true_magnitude,
)
from cellvit.hover.parameters import HoverNetWatershed
from cellvit.inference.parallel import Workers

TILES = [[(60, 60, 30, 1), (150, 150, 20, 5)], []]


@pytest.fixture
def batch(disc_tiles):
    return perfect_maps(disc_tiles(TILES, ["Colon", "Stomach"]))


@pytest.fixture
def oracle(batch):
    return judge_maps([batch], HoverNetWatershed(), family="digestive", pool=Workers(None, 1))


def test_perfect_targets_pass_every_check(batch, oracle) -> None:
    figures = oracle_figures(oracle, seed=0)

    checks = checks_of("digestive", oracle, {"hovernet": figures}, IntegrityGates())

    assert checked_hv(batch) is batch
    assert [check.name for check in checks] == ["hv", "np_coverage", "oracle_aji"]
    assert figures["aji"].n == 1


def test_targets_are_counted(oracle, batch) -> None:
    assert tiles_by_fold(oracle) == {"3": 2}
    assert tiles_by_organ(oracle) == {"Colon": 1, "Stomach": 1}
    assert nuclei_by_class(oracle) == {
        "Neoplastic": 1,
        "Inflammatory": 0,
        "Connective": 0,
        "Dead": 0,
        "Epithelial": 1,
    }
    assert coverage(oracle) == pytest.approx((batch.tiles.instances > 0).mean())
    assert true_magnitude(oracle) == pytest.approx(0.67, abs=0.02)


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        pytest.param(lambda hv: hv.astype(np.float64), "hv_dtype", id="dtype"),
        pytest.param(lambda hv: np.where(hv > 0.9, np.nan, hv).astype(np.float32), "hv_finite", id="not_finite"),
        pytest.param(lambda hv: hv * np.float32(1.01), "hv_range", id="beyond_one"),
        pytest.param(lambda hv: np.roll(hv, 9, axis=-1), "hv_outside", id="shifted"),
    ],
)
def test_a_spoiled_hv_map_stops_the_run_and_names_check_and_tile(batch, spoil, check) -> None:
    spoiled = dataclasses.replace(batch, hv=spoil(batch.hv))

    with pytest.raises(IntegrityError, match=f"f3-00000: check {check} failed: expected .* found .* Likely cause"):
        checked_hv(spoiled)


def test_background_counted_as_nuclei_stops_the_run(oracle) -> None:
    gates = IntegrityGates(np_coverage=(0.001, 0.01))

    with pytest.raises(IntegrityError, match=r"np_coverage failed: .* found .*background channel"):
        checks_of("digestive", oracle, {"hovernet": oracle_figures(oracle, seed=0)}, gates)


def test_a_broken_oracle_stops_the_run(oracle) -> None:
    figures = oracle_figures(oracle, seed=0)
    broken = {**figures, "aji": figures["aji"].model_copy(update={"value": 0.09})}

    with pytest.raises(IntegrityError, match=r"oracle_aji failed: expected 0.8 .* found 0.0900 \(hovernet\), 0.0900"):
        checks_of("digestive", oracle, {"hovernet": broken, "hv_flow": broken}, IntegrityGates())


def test_the_better_method_decides_whether_the_oracle_passes(oracle) -> None:
    figures = oracle_figures(oracle, seed=0)
    broken = {**figures, "aji": figures["aji"].model_copy(update={"value": 0.09})}

    *_, check = checks_of("digestive", oracle, {"hovernet": broken, "hv_flow": figures}, IntegrityGates())

    assert check.name == "oracle_aji"
    assert "0.0900 (hovernet)" in check.found


def test_without_tiles_nothing_is_judged_and_nothing_defined(oracle) -> None:
    none = oracle.where(np.zeros(2, bool))

    assert checks_of("digestive", none, {"hovernet": oracle_figures(none, seed=0)}, IntegrityGates()) == ()
    assert math.isnan(coverage(none))
    assert math.isnan(true_magnitude(none))
