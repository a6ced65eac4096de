import logging

import pytest

from cellvit.config.evaluation import WatershedSettings
from cellvit.hover.parameters import HoverNetWatershed
from cellvit.inference.segment import watershed_of

FAMILIES = {"digestive": ("Colon", "Stomach"), "epidermal": ("Skin",)}
GRID = WatershedSettings(
    np_threshold=(0.4, 0.5), hv_threshold=(0.4, 0.5), min_gain_px=(5,), min_object_px=(10,), min_fit=(0.5,)
)


@pytest.fixture(scope="module")
def written(write_run, write_decoder):
    run = write_run({1: ["Colon", "Skin"], 2: ["Colon", "Stomach", "Colon"]}, FAMILIES)
    for family in FAMILIES:
        write_decoder(run.root / f"checkpoints/{family}.safetensors", family)
    return run


@pytest.fixture
def run(written, copy_run):
    return copy_run(written)


def test_every_point_of_the_grid_is_scored_on_the_validation_tiles(run, tune) -> None:
    choice = tune(run, "digestive", settings=GRID)

    assert choice.status == "tuned"
    assert sorted(point.method for point in choice.grid) == 4 * ["hovernet"] + 2 * ["hv_flow"]
    assert choice.method == choice.grid[0].method
    values = [point.aji.value for point in choice.grid]
    assert values == sorted(values, reverse=True)
    assert choice.grid[0].parameters.items() <= choice.parameters.items()
    assert 2 <= choice.grid[0].aji.n <= 3
    assert any("np_threshold" in warning for warning in choice.warnings)
    assert choice.provenance.marks == ("simulated data", "untrained encoder")


def test_no_warning_where_none_is_wanted(run, tune) -> None:
    silent = GRID.model_copy(update={"warn_at_border": False})

    assert tune(run, "digestive", settings=silent).warnings == ()


def test_without_validation_tiles_the_defaults_of_the_first_method_are_used_and_said(run, tune, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        choice = tune(run, "epidermal")

    assert choice.status == "default"
    assert watershed_of(choice) == HoverNetWatershed()
    assert "no tiles in validation folds [2]; hovernet, the first method" in choice.reason
    assert choice.reason in caplog.text


def test_without_a_decoder_the_choice_is_absent_with_its_reason(run, tune, write_decoder) -> None:
    write_decoder(run.root / "checkpoints/digestive.safetensors", "digestive", status="absent")

    choice = tune(run, "digestive")

    assert choice.status == "absent"
    assert "no tiles in training folds" in choice.reason


def test_processes_choose_what_one_process_chooses(run, tune) -> None:
    alone = tune(run, "digestive", settings=WatershedSettings())
    together = tune(run, "digestive", "--threads", "2", settings=WatershedSettings())

    assert alone == together
