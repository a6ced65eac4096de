"""The whole graph on a small case: what it writes, and what a plan would run."""

import csv
import math
import re

import h5py
import numpy as np
import pytest
from disks import read_only

from cellvit.formats.checkpoints import read_checkpoint, read_header
from cellvit.formats.documents import read_document
from cellvit.formats.evaluations import FamilyEvaluation, RoutedEvaluation
from cellvit.formats.tiles import TargetCheck
from cellvit.formats.watershed import WatershedChoice
from cellvit.taxonomy import DEFAULT_FAMILIES

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

LEFT_OUT = list(DEFAULT_FAMILIES["urologic"])
"""Organs of the family that the settings of the workshop remove."""

AFTER_FEATURES = {
    *("extract_features", "check_features", "gather_families"),
    *("train_organ_head", "evaluate_organ_head", "train_hovernet"),
}
AFTER_TRAINING = {"tune_watershed", "evaluate_family", "evaluate_routed", "calibrate", "summarize", "build_report"}


def summary_rows(finished):
    with (finished.results / "summary.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_makes_every_file_of_the_design_and_leaves_none_half_written(finished):
    expected = [
        *(f"{kind}/fold{fold}.h5" for kind in ("tiles", "features", "families/all") for fold in (1, 2, 3)),
        "checkpoints/split1/organ_head.safetensors",
        "evaluation/split1/organ_head.json",
        "evaluation/split1/routed.json",
        "calibration/split1/all.json",
        "calibration/split1/novelty.safetensors",
        "summary.csv",
        "report/index.html",
        *(
            path.format(family=family)
            for family in ("glandular", "digestive", "epidermal", "respiratory", "all")
            for path in (
                "checkpoints/split1/hovernet_{family}.safetensors",
                "watershed/split1/{family}.json",
                "evaluation/split1/{family}.json",
                "evaluation/split1/{family}_tiles.csv",
                "evaluation/split1/{family}_gallery.json",
            )
        ),
    ]

    assert [path for path in expected if not (finished.results / path).exists()] == []
    assert list(finished.home.rglob("*.part")) == []
    assert [path for path in finished.results.rglob(".partial/*") if path.suffix != ".lock"] == []


def test_a_run_ends_with_its_page_and_its_conclusion_in_twelve_lines(finished):
    printed = (finished.home / "run.log").read_text()
    conclusion = (finished.results / "summary.txt").read_text().split("\n\n")[0]

    ending = printed[printed.index("Finished: ") :].splitlines()
    assert re.fullmatch(r"Finished: 50 steps in \d+ (s|min)", ending[0])
    assert ending[1:3] == ["Values:   results/summary.txt", "Page:     results/report/index.html"]
    assert ending[3:] == conclusion.splitlines()
    assert "MARKED: simulated data, untrained encoder." in conclusion
    assert "\nVerdict: " in conclusion
    assert len(ending) <= 12
    assert max(map(len, ending)) <= 100


def test_a_run_prints_one_line_for_each_step_in_place_of_those_of_snakemake(finished):
    printed = (finished.home / "run.log").read_text()
    lines = printed[printed.index("logs: results/logs") : printed.index("Finished: ")].splitlines()[1:]
    shown = [line for line in lines if "=" not in line]  # a step of more than two minutes also shows a line of its log

    assert len(shown) == 50 - 15 - 1, "one for each step, without lists of tiles and the target"
    assert all(re.match(r"\d\d:\d\d:\d\d +\d+/50  [A-Z]", line) for line in shown)
    assert "Train the decoder of family digestive, split 1" in printed
    assert " left)" in printed
    assert max(map(len, shown)) <= 100


def test_features_are_extracted_once_and_families_list_rows(finished):
    with h5py.File(finished.results / "features/fold1.h5") as file:
        assert file["tokens"].shape == (5, 2, 1, 16, 16, 96)
        assert file["tokens"].dtype == np.float16
        assert file["cls"].dtype == np.float32
    with h5py.File(finished.results / "families/digestive/fold1.h5") as file:
        assert file["row"][()].tolist() == [0, 2, 3]
        assert file["organ"][()].tolist() == [b"Colon", b"Colon", b"Stomach"]


def test_a_trained_checkpoint_says_what_it_is(finished):
    header, weights = read_checkpoint(finished.results / "checkpoints/split1/hovernet_digestive.safetensors")

    assert header.status == "trained"
    assert header.folds == {"train": (1,), "validate": (2,)}
    assert (header.mpp, len(header.classes), header.classes[0]) == (0.25, 6, "Background")
    assert header.provenance.marks == ("simulated data", "untrained encoder")
    assert {f"../../families/digestive/fold{fold}.h5" for fold in (1, 2)} <= set(header.provenance.made_from)
    assert weights


@pytest.mark.parametrize("family", ["epidermal", "respiratory"])
def test_a_family_without_training_tiles_is_absent_and_says_why(finished, family):
    header = read_header(finished.results / f"checkpoints/split1/hovernet_{family}.safetensors")
    evaluation = read_document(finished.results / f"evaluation/split1/{family}.json", FamilyEvaluation)
    choice = read_document(finished.results / f"watershed/split1/{family}.json", WatershedChoice)

    assert (header.status, evaluation.status, choice.status) == ("absent", "absent", "absent")
    assert header.reason
    assert family in (finished.results / "report/index.html").read_text()


def test_the_upper_bound_of_decoding_is_high_in_every_fold(finished):
    for fold in (1, 2, 3):
        check = read_document(finished.results / f"tiles/fold{fold}_check.json", TargetCheck)
        assert all(bound["aji"].value > 0.8 for bound in check.upper_bound.values())


def test_the_summary_has_its_columns_and_no_undefined_zero(finished):
    rows = summary_rows(finished)

    assert list(rows[0]) == [
        *("split", "family", "metric", "value", "low", "high", "split_min", "split_max", "n", "units", "gate"),
        *("seeds", "seed_sd"),
    ]
    assert {"glandular", "digestive", "all", "epidermal", "respiratory"} <= {row["family"] for row in rows}
    assert all(row["value"] == "" for row in rows if row["n"] == "0")


def test_every_value_has_its_baselines(finished):
    metrics = {row["metric"] for row in summary_rows(finished) if row["family"] == "digestive"}

    assert {
        "aji",
        "aji.classical",
        "aji.shared",
        "aji.upper_bound",
        "np_dice",
        "np_dice.trivial",
        "hv_skill",
    } <= metrics


def test_every_test_tile_is_evaluated_with_its_organ_predicted_or_counted(finished):
    routed = read_document(finished.results / "evaluation/split1/routed.json", RoutedEvaluation)

    assert routed.status == "evaluated"
    assert routed.n_tiles + sum(routed.left_out.values()) == 4
    assert not math.isnan(routed.systems["organ_predicted"]["aji"].value)
    assert routed.n_patients == 3


def test_each_organ_has_a_decoder_and_a_family_that_could_not_be_trained_has_the_shared_one(finished):
    routed = read_document(finished.results / "evaluation/split1/routed.json", RoutedEvaluation)
    chosen = {choice.organ: choice for choice in routed.decoders}

    assert (chosen["Lung"].decoder, chosen["Lung"].chosen_by) == ("all", "alone")
    assert chosen["Colon"].decoder in {"digestive", "all"}
    assert chosen["Colon"].chosen_by == "family"
    assert not math.isnan(chosen["Colon"].test.value)


def test_the_report_opens_offline_and_says_what_it_was_made_from(finished):
    page = (finished.results / "report/index.html").read_text()

    assert not re.search(r"""(src|href)\s*=\s*["']https?://[^"']+\.(js|css|png|woff2?)""", page)
    assert not re.search(r"<(script|link|iframe)\b", page)
    assert "simulated" in page.lower()
    assert "untrained" in page.lower()


def test_the_results_are_intact_and_a_change_is_named(finished):
    intact = finished.cellvit("verify", "--configfile", "small.yaml")
    path = finished.results / "evaluation/split1/digestive_tiles.csv"
    original = path.read_bytes()
    path.write_bytes(original.replace(b"Colon", b"Lung", 1))
    changed = finished.cellvit("verify", "--configfile", "small.yaml")
    path.write_bytes(original)

    assert intact.returncode == 0, intact.stdout + intact.stderr
    assert "intact:" in intact.stdout
    assert changed.returncode == 4
    assert "digestive_tiles.csv: the table was changed after it was written" in changed.stdout


def test_results_on_a_disk_for_reading_only_are_verified_and_no_run_starts_there(finished):
    with read_only(finished.results):
        verified = finished.cellvit("verify", "--configfile", "small.yaml")
        planned = finished.snakemake("-n")

    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "intact:" in verified.stdout
    assert planned.returncode != 0
    assert "results: expected a folder in which this user may write" in planned.stdout + planned.stderr


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        pytest.param("tiles/fold2.h5", "row", id="a_row_of_a_store"),
        pytest.param("features/fold3.h5", "row", id="a_row_of_features"),
        pytest.param("checkpoints/split1/hovernet_digestive.safetensors", "byte", id="a_weight"),
        pytest.param("watershed/split1/digestive.json", "byte", id="a_document"),
        pytest.param("report/index.html", "byte", id="the_page"),
        pytest.param("features/fold1.h5", "other", id="a_store_of_another_fold"),
    ],
)
def test_verify_names_what_was_changed(finished, name, damage):
    path = finished.results / name
    original = path.read_bytes()
    path.unlink()  # a link of the cache keeps its own
    match damage:
        case "row":
            path.write_bytes(original)
            with h5py.File(path, "r+") as file:
                column = "image" if "image" in file else "cls"
                values = file[column][1]
                values.flat[0] += 1
                file[column][1] = values
        case "byte":
            path.write_bytes(original[:-9] + bytes([original[-9] ^ 1]) + original[-8:])
        case "other":
            path.write_bytes((finished.results / "features/fold2.h5").read_bytes())

    found = finished.cellvit("verify", "--configfile", "small.yaml")
    path.unlink()
    path.write_bytes(original)

    assert found.returncode == 4
    assert name in found.stdout
    assert "Fix: " in found.stdout


def test_a_changed_training_setting_reruns_training_and_what_follows(finished):
    planned = finished.planned("--config", "training={'learning_rate': 0.002}")

    assert set(planned) == {"train_hovernet", *AFTER_TRAINING}
    assert planned["train_hovernet"] == 5


def test_one_family_is_retrained_and_evaluated_alone(finished):
    checkpoint = "results/checkpoints/split1/hovernet_digestive.safetensors"

    planned = finished.planned("--forcerun", checkpoint, "--", "results/evaluation/split1/digestive.json")

    assert planned == {"train_hovernet": 1, "tune_watershed": 1, "evaluate_family": 1}


@pytest.mark.parametrize(
    ("setting", "steps"),
    [
        pytest.param(
            "routing={'decoder': 'family'}",
            {"evaluate_routed", "summarize", "build_report"},
            id="the_choice_of_decoders",
        ),
        pytest.param("gates={'quality': {'aji': {'pass': 0.6}}}", {"summarize", "build_report"}, id="a_quality_gate"),
        pytest.param("watershed={'np_threshold': [0.45]}", AFTER_TRAINING, id="the_watershed_grid"),
        pytest.param("features={'input_px': 448}", AFTER_FEATURES | AFTER_TRAINING, id="the_size_of_the_input"),
        pytest.param("encoder={'seed': 1}", AFTER_FEATURES | AFTER_TRAINING, id="the_encoder"),
        pytest.param("device=cpu", set(), id="the_device"),
        pytest.param("features={'batch_size': 4}", {"build_report"}, id="the_batch_size"),
        pytest.param("cache={'max_gb': 7}", set(), id="the_cache"),
    ],
)
def test_a_setting_reruns_the_steps_that_read_it(finished, setting, steps):
    assert set(finished.planned("--config", setting)) == steps


def test_a_family_added_leaves_the_others_alone(finished):
    planned = finished.planned("--config", "families={'hepatic': ['Kidney']}", f"left_out_organs={LEFT_OUT[1:]}")

    assert planned["train_hovernet"] == 2, "the new family and the shared decoder"
    assert planned["gather_families"] == 6
    assert "extract_features" not in planned


@pytest.mark.parametrize(
    ("module", "steps"),
    [
        pytest.param("evaluation/grading.py", {"summarize", "build_report"}, id="of_the_summary"),
        pytest.param("training/hovernet.py", {"train_hovernet", *AFTER_TRAINING}, id="of_the_training"),
        pytest.param("report/index.html.j2", {"build_report"}, id="template"),
    ],
)
def test_an_edited_module_reruns_the_steps_that_reach_it(finished, module, steps):
    path = finished.home / "cellvit" / module
    original = path.read_text()

    path.write_text(original + "\nEDITED = 1\n")
    planned = finished.planned()
    path.write_text(original)

    assert set(planned) == steps


def test_further_seeds_train_again_and_the_summary_has_their_standard_deviation(finished):
    folder, own = finished.home / "of_seeds", finished.home / "seeds.yaml"
    own.write_text(
        "results: of_seeds\nfurther_seeds: [1]\nfamilies: {epidermal: null, respiratory: null}\n"
        f"left_out_organs: [Skin, HeadNeck, Lung, Liver, {', '.join(LEFT_OUT)}]\n"
    )

    jobs = finished.ran("--configfile", "small.yaml", own.name, results=folder.name)
    table = (folder / "summary.csv").read_text().splitlines()
    rows = {(row["family"], row["metric"]): row for row in csv.DictReader(table)}

    trained = {job.removeprefix("train_hovernet/split1_") for job in jobs if job.startswith("train_hovernet")}
    names = ("glandular", "digestive", "all")
    assert trained == {*names, *(f"{name}-seed1" for name in names)}
    assert rows["digestive", "aji"]["seeds"] == rows["digestive", "aji_minus_shared"]["seeds"] == "2"
    assert float(rows["digestive", "hv_mse"]["seed_sd"]) > 0
    assert rows["organ_predicted", "aji"]["seeds"] == "1"
    assert "sd of 2 seeds" in (folder / "summary.txt").read_text()
    assert "2 trainings with different seeds" in (folder / "report/index.html").read_text()
