import logging
from dataclasses import asdict

import pytest

from cellvit.config.evaluation import WatershedSettings
from cellvit.hover.parameters import HoverNetWatershed

FAMILIES = {"digestive": ("Colon", "Stomach"), "epidermal": ("Skin",)}
GRID = WatershedSettings(
    np_threshold=(0.4, 0.5), hv_threshold=(0.4, 0.5), min_gain_px=(5,), min_object_px=(10,), min_fit=(0.5,)
)


@pytest.fixture(scope="module")
def written(write_run):
    run = write_run({1: ["Colon", "Skin"], 2: ["Colon", "Stomach", "Colon"]}, FAMILIES)
    for family in FAMILIES:
        run.write_decoder(family)
    return run


@pytest.fixture
def run(written, copy_run):
    return copy_run(written)


def test_every_point_of_the_grid_is_scored_on_the_validation_tiles(run) -> None:
    choice = run.tune("digestive", GRID)

    assert choice.status == "tuned"
    assert sorted(point.method for point in choice.grid) == 4 * ["hovernet"] + 2 * ["hv_flow"]
    assert choice.method == choice.grid[0].method
    values = [point.aji.value for point in choice.grid]
    assert values == sorted(values, reverse=True)
    assert choice.grid[0].parameters.items() <= choice.parameters.items()
    assert 2 <= choice.grid[0].aji.n <= 3
    assert any("np_threshold" in warning for warning in choice.warnings)
    assert choice.provenance.marks == ("simulated data", "untrained encoder")
    assert run.tune("digestive", GRID.model_copy(update={"warn_at_border": False})).warnings == ()


def test_without_validation_tiles_the_defaults_of_the_first_method_are_used(run, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        choice = run.tune("epidermal")

    assert choice.status == "default"
    assert choice.parameters == asdict(HoverNetWatershed())
    assert "no tiles in validation folds [2]; hovernet, the first method" in choice.reason
    assert choice.reason in caplog.text


def test_without_a_decoder_the_choice_is_absent_with_its_reason(run) -> None:
    run.write_decoder("digestive", status="absent")

    choice = run.tune("digestive")

    assert choice.status == "absent"
    assert choice.reason == "no tiles in training folds [1]"


def test_several_processes_make_the_same_choice(run, monkeypatch) -> None:
    monkeypatch.setattr("cellvit.inference.parallel.WORTH_A_POOL", 1)

    alone, together = (run.tune("digestive", GRID, threads=threads) for threads in (1, 2))

    assert alone == together
