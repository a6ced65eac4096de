"""Calibration of the decoders of a split, and of the final models, on small runs with random decoders."""

import dataclasses
import logging
import math

import numpy as np
import pytest

from cellvit.config.steps import EvaluateSettings
from cellvit.errors import AbsentModelError, IntegrityError, SettingsError
from cellvit.evaluation.scoring import COLUMNS
from cellvit.formats.calibration import DecoderCalibration
from cellvit.formats.documents import read_document
from cellvit.formats.novelty import read_novelty, read_novelty_header
from cellvit.formats.tile_table import read_tile_scores
from cellvit.stages import calibrate, calibrate_final

FAMILIES = {"digestive": ("Colon", "Stomach"), "epidermal": ("Skin",), "all": ("Colon", "Stomach", "Skin")}
ORGANS = {1: ["Colon", "Stomach", "Skin", "Colon"], 2: ["Colon", "Colon", "Stomach"], 3: ["Colon", "Stomach", "Colon"]}


def arguments(run, out=None, **changes) -> calibrate.Arguments:
    """Arguments for all decoders of a run; `out` is the folder to write to."""
    out = out or run.root / "calibration"
    given = calibrate.Arguments(
        settings=EvaluateSettings(),
        split="1",
        train_folds=(1,),
        validate_folds=(2,),
        test_folds=(3,),
        members=tuple(path for family in run.families for path in run.members(family, 1, 2, 3)),
        **run.stores(1, 2, 3),
        checkpoints=tuple(map(run.checkpoint, run.families)),
        watersheds=tuple(map(run.watershed, run.families)),
        calibrations=tuple(out / f"{family}.json" for family in run.families),
        novelty=out / "novelty.safetensors",
        device="cpu",
    )
    return dataclasses.replace(given, **changes)


def documents(given) -> dict[str, DecoderCalibration]:
    found = [read_document(path, DecoderCalibration) for path in given.calibrations]
    return {document.family: document for document in found}


@pytest.fixture(scope="module")
def run(write_run):
    run = write_run(ORGANS, FAMILIES, {2: ["p", "q", "p"], 3: ["r", "s", "r"]})
    for family in FAMILIES:
        run.write_decoder(family)
        run.tune(family)
    return run


@pytest.fixture(scope="module")
def calibrated(run):
    given = arguments(run)
    calibrate.run(given)
    return given


def test_every_decoder_has_a_document_and_one_without_validation_tiles_says_so(calibrated) -> None:
    found = documents(calibrated)

    assert {family: one.status for family, one in found.items()} == {
        "digestive": "fitted",
        "epidermal": "absent",
        "all": "fitted",
    }
    assert found["epidermal"].reason == "no validation tiles"
    assert found["all"].provenance.simulated


def test_true_counts_of_the_validation_patients_are_added_over_their_tiles(calibrated) -> None:
    one = documents(calibrated)["digestive"]

    assert one.unit == "patient"
    assert [(unit.unit, unit.true["all"], unit.true["Neoplastic"]) for unit in one.units] == [("p", 3, 2), ("q", 3, 2)]


def test_few_patients_and_nuclei_leave_no_bound_and_the_temperature_at_one(calibrated) -> None:
    one = documents(calibrated)["all"]

    assert one.temperature == 1
    assert "fewer than 50" in one.note
    assert all(math.isnan(bound.share) and bound.test_n == 0 for bound in one.counts)
    assert one.counts[0].n_units == 2
    assert [bound.class_name for bound in one.counts][:2] == ["all", "Neoplastic"]


def test_predicted_counts_are_those_of_the_evaluation(run, tmp_path) -> None:
    run.evaluate("digestive")
    scores = read_tile_scores(run.evaluated("digestive_tiles.csv"), COLUMNS)["decoder"]
    on_test_tiles = arguments(run, tmp_path, validate_folds=(3,), test_folds=())

    calibrate.run(on_test_tiles)
    units = {unit.unit: unit for unit in documents(on_test_tiles)["digestive"].units}

    for patient in ("r", "s"):
        rows = np.array([name == patient for name in scores.text("patient")])
        assert units[patient].predicted["all"] == scores.column("n_predicted")[rows].sum()
        assert units[patient].true["all"] == scores.column("n_true")[rows].sum()


def test_the_novelty_model_knows_each_tile_once_and_counts_by_role_and_organ(calibrated) -> None:
    novelty = read_novelty(calibrated.novelty)

    assert (novelty.header.n_train, novelty.header.n_validate) == (4, 3)
    assert novelty.mean.shape == (8,)
    counted = {(share.role, share.organ): share.n for share in novelty.header.shares}
    assert counted == {
        ("train", ""): 4,
        ("train", "Colon"): 2,
        ("train", "Skin"): 1,
        ("train", "Stomach"): 1,
        ("validate", ""): 3,
        ("validate", "Colon"): 2,
        ("validate", "Stomach"): 1,
        ("test", ""): 3,
        ("test", "Colon"): 2,
        ("test", "Stomach"): 1,
    }


def test_the_same_inputs_give_the_same_result(run, calibrated, tmp_path) -> None:
    again = arguments(run, tmp_path)

    calibrate.run(again)

    texts = [documents(given)["all"].model_dump_json(exclude={"provenance"}) for given in (again, calibrated)]
    assert texts[0] == texts[1]
    assert np.array_equal(read_novelty(again.novelty).whitening, read_novelty(calibrated.novelty).whitening)


def test_without_validation_folds_everything_is_absent_with_the_reason(run, caplog, tmp_path) -> None:
    given = arguments(run, tmp_path, validate_folds=())

    with caplog.at_level(logging.WARNING):
        calibrate.run(given)

    assert {one.reason for one in documents(given).values()} == {"no validation tiles"}
    assert "novelty split=1 absent: no validation tiles" in caplog.text
    with pytest.raises(AbsentModelError, match="no validation tiles"):
        read_novelty(given.novelty)


def test_an_absent_decoder_gives_its_reason_and_the_others_are_calibrated(run, copy_run) -> None:
    other = copy_run(run)
    other.write_decoder("digestive", status="absent")
    other.tune("digestive")
    given = arguments(other)

    calibrate.run(given)

    found = documents(given)
    assert (found["digestive"].status, found["all"].status) == ("absent", "fitted")
    assert found["digestive"].reason == "no tiles in training folds [1]"


def test_a_decoder_that_has_seen_a_test_fold_is_refused(run) -> None:
    with pytest.raises(IntegrityError, match="the model has seen fold 2"):
        calibrate.run(arguments(run, test_folds=(2,)))


def test_lists_that_do_not_belong_together_are_refused(run) -> None:
    with pytest.raises(SettingsError, match="--calibrations: expected one entry for each of --checkpoints"):
        calibrate.run(arguments(run, calibrations=()))


@pytest.fixture(scope="module")
def final(run, copy_run):
    """Arguments of the final step after the calibration of one split, without that of the family epidermal."""
    other = copy_run(run)
    given = arguments(other)
    calibrate.run(given)
    checkpoints = []
    for family in FAMILIES:
        other.write_decoder(family, file=f"final/{family}", split="final", final=True)
        checkpoints.append(other.checkpoint(f"final/{family}"))
    return calibrate_final.Arguments(
        members=given.members,
        tiles=given.tiles,
        features=given.features,
        checkpoints=tuple(checkpoints),
        of_splits=given.calibrations,
        novelties=(given.novelty,),
        calibrations=tuple(other.root / f"final/{family}.json" for family in FAMILIES),
        novelty=other.root / "final/novelty.safetensors",
    )


def test_final_models_have_the_pooled_calibration_of_the_splits(final) -> None:
    calibrate_final.run(final)

    found = documents(final)
    assert found["all"].split == "final"
    assert found["all"].counts[0].n_units == 2
    assert "no fold is left to test a final model" in found["all"].note
    assert found["epidermal"].reason == "no split has a calibration (split 1: no validation tiles)"


def test_the_final_novelty_model_is_of_all_tiles_with_the_threshold_of_the_splits(final) -> None:
    calibrate_final.run(final)

    novelty, of_split = read_novelty(final.novelty), read_novelty(final.novelties[0])
    assert novelty.header.n_train == 10
    assert novelty.threshold == of_split.threshold
    assert novelty.header.threshold_from == "the median of the thresholds of the splits 1"


def test_without_a_novelty_model_of_any_split_there_is_no_final_one(run, final) -> None:
    absent = arguments(run, final.novelty.parent / "absent", validate_folds=())
    calibrate.run(absent)

    calibrate_final.run(dataclasses.replace(final, novelties=(absent.novelty,)))

    assert read_novelty_header(final.novelty).reason == "no split has a novelty model"
