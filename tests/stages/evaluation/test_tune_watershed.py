import logging
import math
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest

from cellvit.config.evaluation import WatershedSettings
from cellvit.errors import StaleFileError
from cellvit.evaluation.systems import read_decoder
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.maps import MAPS
from cellvit.formats.provenance import Provenance
from cellvit.formats.writing import writing
from cellvit.hover.parameters import Classical, HoverNetWatershed

FAMILIES = {"digestive": ("Colon", "Stomach"), "epidermal": ("Skin",)}
LISTS = WatershedSettings(
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


@pytest.mark.parametrize("select_by", ["bpq", "mpq", "aji"])
def test_the_best_point_of_both_methods_is_chosen_on_the_validation_tiles(run, select_by) -> None:
    choice = run.tune("digestive", LISTS.model_copy(update={"select_by": select_by}))

    assert (choice.status, choice.select_by) == ("tuned", select_by)
    assert {point.method for point in choice.tried} == {"hovernet", "hv_flow"}
    best = choice.tried[0]
    assert choice.method == best.method
    assert best.parameters.items() <= choice.parameters.items()
    on_all = [point.value.value for point in choice.tried if not math.isnan(point.value.low)]
    assert on_all == sorted(on_all, reverse=True)
    assert 2 <= best.value.n <= 3
    assert choice.provenance.marks == ("simulated data", "untrained encoder")


def test_the_value_of_every_validation_tile_is_recorded_for_the_chosen_point(run) -> None:
    choice = run.tune("digestive", LISTS)

    values = {tile.tile_id: tile.value for tile in choice.validation}
    assert [tile.organ for tile in choice.validation] == ["Colon", "Stomach", "Colon"]
    assert list(values) == ["f2-00000", "f2-00001", "f2-00002"]
    assert math.isnan(values["f2-00002"]), "bPQ is undefined on the tile without nuclei"
    assert (values["f2-00000"] + values["f2-00001"]) / 2 == pytest.approx(choice.tried[0].value.value)


def test_the_classical_baseline_is_tuned_on_the_same_tiles_and_read_with_the_decoder(run) -> None:
    choice = run.tune("digestive", LISTS)

    decoder = read_decoder(
        run.checkpoint("digestive"), run.watershed("digestive"), split="1", family="digestive", test_folds=(3,)
    )
    assert asdict(decoder.classical) == choice.classical
    assert choice.classical_value is not None
    assert choice.classical_value.n == choice.tried[0].value.n == 2
    assert choice.classical_value.value > 0.5


def test_without_validation_tiles_the_defaults_of_the_first_method_are_used(run, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        choice = run.tune("epidermal")

    assert choice.status == "default"
    assert choice.parameters == asdict(HoverNetWatershed())
    assert choice.classical == asdict(Classical())
    assert "no validation tiles; hovernet, the first method" in choice.reason
    assert choice.reason in caplog.text


def test_without_a_decoder_the_choice_is_absent_with_its_reason(run) -> None:
    run.write_decoder("digestive", status="absent")

    choice = run.tune("digestive")

    assert choice.status == "absent"
    assert choice.reason == "no tiles in training folds [1]"


def test_several_processes_make_the_same_choice(run, monkeypatch) -> None:
    monkeypatch.setattr("cellvit.inference.parallel.WORTH_A_POOL", 1)

    alone, together = (run.tune("digestive", LISTS, threads=threads) for threads in (1, 2))

    assert alone == together


def test_maps_of_other_tiles_are_refused(run, monkeypatch) -> None:
    path = run.root / "maps/other.h5"
    with writing(path, MAPS, 3, {}, Provenance(data_set=PANNUKE)) as writer:
        writer.append(
            np_prob=np.zeros((3, 256, 256), np.float16),
            hv=np.zeros((3, 2, 256, 256), np.float16),
            nt_class=np.zeros((3, 256, 256), np.uint8),
            averaged=np.zeros(3, np.uint8),
            tile_sha256=np.zeros((3, 32), np.uint8),
        )
    monkeypatch.setattr(type(run), "maps", lambda *_: path)

    with pytest.raises(StaleFileError, match=r"found 3 maps, or maps of other tiles\. Fix: .*snakemake"):
        run.tune("digestive")


def test_maps_of_a_decoder_of_another_run_are_refused(run, monkeypatch) -> None:
    path = run.maps("digestive")
    run.write_decoder("digestive", seed=1)
    monkeypatch.setattr(type(run), "maps", lambda *_: path)

    with pytest.raises(
        StaleFileError, match=r"digestive\.h5: expected a file that was made with .*found one of another decoder"
    ):
        run.tune("digestive")


def test_the_step_loads_no_torch() -> None:
    code = "import sys, cellvit.stages.tune_watershed; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
