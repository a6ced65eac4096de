"""Each row of the table in docs/how_it_works.md: what a change computes, and what is taken from the result cache.

The tests share one workshop and run in order; each leaves the results as the settings of the workshop make them.
"""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest
from workshop import Workshop

from cellvit.taxonomy import DEFAULT_FAMILIES
from cellvit.workflow.cache import FOLDER

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

GPU_STEPS = {"extract_features", "check_features", "train_organ_head", "train_hovernet"}
OTHER_LOSS = "training={'loss': {'hv_magnitude_weight': 0.5}}"


def steps(jobs: Mapping[str, str], outcome: str) -> set[str]:
    """Steps that have a job with this outcome."""
    return {job.split("/")[0] for job, found in jobs.items() if found == outcome}


def digests(results: Path) -> dict[str, str]:
    """Digest of every product; times of jobs and the page that shows them are not products of the inputs alone."""
    files = [path for path in results.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not {"logs", "timings", "archive", ".partial"} & set(path.relative_to(results).parts)
    }


def repaint(path: Path, tile: int) -> None:
    """Invert one pixel of a tile."""
    images = np.load(path)
    images[tile, 5, 5] = 255 - images[tile, 5, 5]
    np.save(path, images)


def test_nothing_changed(finished: Workshop) -> None:
    done = finished.snakemake("--cores", "2")

    assert "Nothing to be done" in done.stdout + done.stderr
    assert "Verdict: " not in done.stdout + done.stderr, "the values of an earlier run are not shown again"


def test_another_loss_weight_in_a_second_output_folder_trains_alone(finished: Workshop) -> None:
    jobs = finished.ran("--config", "results=second", OTHER_LOSS, results="second")
    shared = [finished.home / folder / "features/fold1.h5" for folder in ("results", "second")]

    assert steps(jobs, "computed") == {
        "train_hovernet",
        "tune_watershed",
        "evaluate_family",
        "evaluate_routed",
        "calibrate",
        "summarize",
        "build_report",
    }
    assert {"prepare_fold", "check_targets", "extract_features", "check_features", "gather_families"} <= steps(
        jobs, "reused"
    )
    assert jobs["train_organ_head/split1"] == jobs["evaluate_organ_head/split1"] == "reused"
    assert shared[0].read_bytes() == shared[1].read_bytes()


def test_averaging_over_views_in_a_second_output_folder_repeats_no_training(finished: Workshop) -> None:
    average = "watershed={'average_views': true}"

    jobs = finished.ran("--config", "results=averaged", average, results="averaged")
    compared = finished.cellvit("compare", "results", "averaged")
    unchanged = finished.planned("--config", "results=averaged", average)
    shutil.rmtree(finished.home / "averaged")

    assert steps(jobs, "computed") == {
        "average_maps",
        "tune_watershed",
        "evaluate_family",
        "evaluate_routed",
        "calibrate",
        "summarize",
        "build_report",
    }
    assert jobs["train_hovernet/split1_digestive"] == jobs["train_hovernet/split1_all"] == "reused"
    assert compared.returncode == 0, compared.stderr
    assert "watershed.average_views" in compared.stdout
    assert not unchanged


def test_averaging_over_views_for_one_family_reruns_what_reads_its_maps_alone(finished: Workshop) -> None:
    planned = finished.planned("--config", "families={'digestive': {'watershed': {'average_views': true}}}")

    assert planned == {
        "average_maps": 1,
        "tune_watershed": 1,
        "evaluate_family": 1,
        "evaluate_routed": 1,
        "calibrate": 1,
        "summarize": 1,
        "build_report": 1,
    }


def test_settings_changed_back_are_reused_with_equal_results(finished: Workshop) -> None:
    jobs = finished.ran("--config", "results=second", results="second")
    second = digests(finished.home / "second")
    shutil.rmtree(finished.home / "second")

    assert steps(jobs, "computed") <= {"build_report"}, "the page names the output folder's settings"
    assert jobs["train_hovernet/split1_digestive"] == "reused"
    first = digests(finished.results)
    differing = {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}
    assert differing <= {"report/index.html"}


def test_code_that_computes_the_same_again_costs_no_later_gpu_step(finished: Workshop) -> None:
    path = finished.home / "cellvit" / "training" / "seeding.py"
    original = path.read_text()
    path.write_text(original + "\nEDITED = 1\n")

    jobs = finished.ran()
    path.write_text(original)
    back = finished.ran()

    assert steps(jobs, "computed") <= {"train_hovernet", "train_organ_head", "build_report"}
    assert {
        "tune_watershed",
        "evaluate_family",
        "evaluate_routed",
        "evaluate_organ_head",
        "calibrate",
        "summarize",
    } <= steps(jobs, "reused")
    assert steps(back, "computed") <= {"build_report"}


def test_comments_errors_and_configuration_rerun_nothing(finished: Workshop) -> None:
    training, encoders = (finished.home / "cellvit" / name for name in ("training/loop.py", "config/encoders.py"))
    originals = {path: path.read_text() for path in (training, encoders)}
    training.write_text(
        "# why\n" + originals[training].replace("raise TrainingDivergedError(", 'raise TrainingDivergedError("" + ')
    )
    encoders.write_text(originals[encoders] + "\nADDED = 1\n")

    planned = finished.planned()
    for path, text in originals.items():
        path.write_text(text)

    assert not planned


def test_a_raw_file_that_was_only_touched_computes_nothing(finished: Workshop) -> None:
    for path in finished.raw(1).values():
        path.touch()

    jobs = finished.ran()

    assert steps(jobs, "computed") == set()


def test_a_changed_test_fold_retrains_nothing(finished: Workshop) -> None:
    original = finished.raw(3)["images"].read_bytes()
    repaint(finished.raw(3)["images"], 0)

    jobs = finished.ran()
    finished.raw(3)["images"].write_bytes(original)
    back = finished.ran()

    assert jobs["extract_features/fold3"] == "computed"
    assert not {"train_hovernet", "train_organ_head", "tune_watershed"} & steps(jobs, "computed")
    assert jobs["evaluate_family/split1_digestive"] == "computed"
    assert jobs["evaluate_family/split1_glandular"] == "reused", "its tiles are as they were"
    assert steps(back, "computed") <= {"build_report"}


def test_a_changed_training_tile_retrains_the_families_that_hold_it(finished: Workshop) -> None:
    original = finished.raw(1)["images"].read_bytes()
    repaint(finished.raw(1)["images"], 0)  # Colon

    jobs = finished.ran("--", "decoders")
    finished.raw(1)["images"].write_bytes(original)
    finished.ran()

    assert jobs["train_hovernet/split1_digestive"] == jobs["train_hovernet/split1_all"] == "computed"
    assert jobs["train_hovernet/split1_glandular"] == "reused"


def test_an_organ_that_moves_retrains_its_two_families(finished: Workshop) -> None:
    glandular, digestive = [*DEFAULT_FAMILIES["glandular"], "Stomach"], ["Colon", "Esophagus", "Bile-duct"]
    moved = f"families={{'glandular': {glandular}, 'digestive': {digestive}}}"

    planned = finished.planned("--config", moved, "--", "decoders")

    assert planned["gather_families"] == 2 * 3
    assert planned["train_hovernet"] == 2
    assert not {"extract_features", "train_organ_head"} & set(planned)


def test_own_settings_of_a_family_rerun_what_reads_its_decoder_alone(finished: Workshop) -> None:
    own = "families={'digestive': {'training': {'loss': {'hv_magnitude_weight': 2.0}}}}"

    planned = finished.planned("--config", own)
    others = [f"results/watershed/split1/{family}.json" for family in ("glandular", "respiratory", "epidermal", "all")]

    assert planned == {
        "train_hovernet": 1,
        "tune_watershed": 1,
        "evaluate_family": 1,
        "evaluate_routed": 1,
        "calibrate": 1,
        "summarize": 1,
        "build_report": 1,
    }
    assert not finished.planned("--config", own, "--", *others)
    assert finished.planned("--config", own, "--", "results/watershed/split1/digestive.json")["train_hovernet"] == 1


def test_a_failed_training_is_tried_again_and_the_report_follows_it(finished: Workshop) -> None:
    path = finished.home / "cellvit" / "training" / "seeding.py"
    original = path.read_text()
    path.write_text(original + "\nraise RuntimeError('out of luck')\n")
    failed = finished.snakemake("--cores", "2", "--config", OTHER_LOSS)
    again = finished.planned("--config", OTHER_LOSS)
    path.write_text(original)

    jobs = finished.ran()

    assert failed.returncode != 0
    assert again["train_hovernet"] == 5
    assert again["build_report"] == 1, "the old page does not pass for the new one"
    assert steps(jobs, "computed") <= {"build_report"}, "the earlier results were not lost"


def test_a_lost_product_of_any_kind_is_put_back(finished: Workshop) -> None:
    before = digests(finished.results)
    lost = [
        "tiles/fold1.h5",
        "tiles/fold2_check.json",
        "features/fold1.h5",
        "features/fold2_check.json",
        "families/digestive/fold1.h5",
        "checkpoints/split1/organ_head.safetensors",
        "checkpoints/split1/hovernet_digestive_history.csv",
        "watershed/split1/glandular.json",
        "evaluation/split1/digestive_gallery.json",
        "evaluation/split1/routed_tiles.csv",
        "summary.txt",
        "report/index.html",
    ]
    for name in lost:
        (finished.results / name).unlink()

    jobs = finished.ran()

    assert steps(jobs, "computed") == set()
    assert digests(finished.results) == before


def test_moved_results_in_a_fresh_clone_are_checked_by_content(finished: Workshop, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(
        finished.home, clone, ignore=shutil.ignore_patterns(".snakemake", "logs"), copy_function=shutil.copy
    )
    moved = Workshop(clone)
    with h5py.File(moved.results / "families/digestive/fold1.h5", "r+") as file:
        file["row"][...] = 0

    jobs = moved.ran("--forceall")

    assert steps(jobs, "computed") <= {"build_report"}
    assert (
        digests(moved.results)["families/digestive/fold1.h5"]
        == digests(finished.results)["families/digestive/fold1.h5"]
    )


def test_without_the_cache_a_forced_rerun_computes(finished: Workshop) -> None:
    off = finished.ran("--config", "cache={'enabled': false}", "--forcerun", "summarize", "--", "results/summary.csv")
    on = finished.ran("--forcerun", "summarize", "--", "results/summary.csv")
    finished.ran()

    assert off == {"summarize/summary": "computed"}
    assert on == {"summarize/summary": "reused"}


def test_a_damaged_entry_is_computed_again(finished: Workshop) -> None:
    path = finished.results / "watershed/split1/digestive.json"
    original = path.read_bytes()
    for entry in (finished.home / FOLDER).glob("*/watershed"):
        entry.write_bytes(entry.read_bytes().replace(b"0.5", b"0.9"))
    path.unlink()

    jobs = finished.ran()

    assert jobs["tune_watershed/split1_digestive"] == "computed"
    assert path.read_bytes() == original


def test_the_cache_keeps_its_limit(finished: Workshop) -> None:
    other = ("gates={'quality': {'aji': {'pass': 0.59}}}", "cache={'max_gb': 0.000001}")

    finished.ran("--config", *other, "--", "results/summary.csv")
    entries = {path.parent for path in (finished.home / FOLDER).glob("[!.]*/entry.json")}
    files = [path for entry in entries for path in entry.iterdir()]
    complete = (finished.results / "summary.csv").exists()
    finished.ran()

    assert sum(path.stat().st_size for path in files if path.stat().st_nlink == 1) <= 1000
    assert complete
