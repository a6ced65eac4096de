"""The whole graph on a small case: what it writes, and what a second call runs."""

import csv
import math
import re

import h5py
import numpy as np
import pytest

from cellvit.formats.checkpoints import read_checkpoint, read_header
from cellvit.formats.documents import read_document
from cellvit.formats.evaluations import FamilyEvaluation, RoutedEvaluation
from cellvit.formats.tiles import TargetCheck, open_targets
from cellvit.formats.watershed import WatershedChoice

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

GPU_STEPS = {"extract_features", "check_features", "train_organ_head", "train_hovernet"}
AFTER_TRAINING = {
    "publish_checkpoint",
    "tune_watershed",
    "evaluate_family",
    "evaluate_routed",
    "summarize",
    "build_report",
}


def summary_rows(finished):
    with (finished.results / "summary.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_makes_every_file_of_the_design(finished):
    expected = [
        *(f"tiles/fold{fold}.h5" for fold in (1, 2, 3)),
        *(f"features/fold{fold}.h5" for fold in (1, 2, 3)),
        "checkpoints/split1/organ_head.safetensors",
        "evaluation/split1/routed.json",
        "summary.csv",
        "report/index.html",
        *(
            path.format(family=family)
            for family in ("glandular", "digestive", "epidermal", "respiratory", "all")
            for path in (
                "families/{family}/features.h5",
                "families/{family}/targets.h5",
                "checkpoints/split1/hovernet_{family}.safetensors",
                "watershed/split1/{family}.json",
                "evaluation/split1/{family}.json",
                "evaluation/split1/{family}_tiles.csv",
            )
        ),
    ]

    assert [path for path in expected if not (finished.results / path).exists()] == []


def test_a_run_leaves_no_half_written_file(finished):
    assert list(finished.results.rglob("*.part")) == []


def test_features_are_one_extraction_and_families_hold_no_copy(finished):
    with h5py.File(finished.results / "features/fold1.h5") as file:
        assert file["tokens"].shape == (5, 1, 1, 16, 16, 96)
        assert file["tokens"].dtype == np.float16
        assert file["cls"].dtype == np.float32
    with h5py.File(finished.results / "families/digestive/features.h5") as file:
        assert file["tokens"].is_virtual
        assert not [name for name in file if "hv" in name]


def test_a_family_holds_the_tiles_of_its_organs(finished):
    with open_targets(finished.results / "families/digestive/targets.h5") as store:
        assert sorted(store.names("organ")) == ["Colon"] * 5 + ["Stomach"] * 2


def test_a_trained_checkpoint_says_what_it_is(finished):
    header, weights = read_checkpoint(finished.results / "checkpoints/split1/hovernet_digestive.safetensors")

    assert header.status == "trained"
    assert header.folds == {"train": (1,), "validate": (2,)}
    assert header.mpp == 0.25
    assert len(header.classes) == 6
    assert header.classes[0] == "Background"
    assert header.provenance.marks == ("simulated data", "untrained encoder")
    assert set(header.provenance.made_from) == {"features_fold1", "features_fold2", "targets_fold1", "targets_fold2"}
    assert weights


@pytest.mark.parametrize("family", ["epidermal", "respiratory"])
def test_a_family_without_training_tiles_is_absent_and_says_why(finished, family):
    header = read_header(finished.results / f"checkpoints/split1/hovernet_{family}.safetensors")
    evaluation = read_document(finished.results / f"evaluation/split1/{family}.json", FamilyEvaluation)
    choice = read_document(finished.results / f"watershed/split1/{family}.json", WatershedChoice)

    assert (header.status, evaluation.status, choice.status) == ("absent", "absent", "absent")
    assert header.reason
    assert family in (finished.results / "report/index.html").read_text()


def test_the_oracle_is_high_on_every_family_that_has_tiles(finished):
    for family in ("glandular", "digestive", "all"):
        check = read_document(finished.results / f"families/{family}/check.json", TargetCheck)
        assert all(oracle["aji"].value > 0.8 for oracle in check.oracle.values())


def test_the_summary_has_its_columns_and_no_undefined_zero(finished):
    rows = summary_rows(finished)

    assert list(rows[0]) == ["split", "family", "metric", "value", "low", "high", "n", "gate"]
    families = {row["family"] for row in rows}
    assert {"glandular", "digestive", "all", "epidermal", "respiratory"} <= families
    for row in rows:
        if row["n"] == "0":
            assert row["value"] in ("", "nan"), row


def test_every_figure_stands_beside_its_baselines(finished):
    metrics = {row["metric"] for row in summary_rows(finished) if row["family"] == "digestive"}

    assert {"aji", "aji.classical", "aji.pooled", "aji.oracle", "np_dice", "np_dice.trivial", "hv_skill"} <= metrics


def test_every_test_tile_is_routed_or_counted(finished):
    routed = read_document(finished.results / "evaluation/split1/routed.json", RoutedEvaluation)

    assert routed.status == "evaluated"
    assert routed.n_tiles + sum(routed.left_out.values()) == 4
    assert not math.isnan(routed.systems["routed"]["aji"].value)
    assert routed.n_patients == 3


def test_the_report_opens_offline_and_says_what_it_is_made_of(finished):
    page = (finished.results / "report/index.html").read_text()

    assert not re.search(r"""(src|href)\s*=\s*["']https?://[^"']+\.(js|css|png|woff2?)""", page)
    assert not re.search(r"<(script|link|iframe)\b", page)
    assert "simulated" in page.lower()
    assert "untrained" in page.lower()


def test_a_second_call_has_nothing_to_do(finished):
    done = finished.snakemake("--cores", "2")

    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_changed_training_setting_reruns_training_and_what_follows(finished):
    planned = finished.planned("--config", "training={'learning_rate': 0.002}")

    assert set(planned) == {"train_hovernet", *AFTER_TRAINING}
    assert planned["train_hovernet"] == 5


def test_one_family_is_retrained_and_validated_alone(finished):
    planned = finished.planned(
        "--forcerun",
        "results/checkpoints/split1/training/hovernet_digestive.safetensors",
        "--",
        "results/evaluation/split1/digestive.json",
    )

    assert planned == {"train_hovernet": 1, "publish_checkpoint": 1, "tune_watershed": 1, "evaluate_family": 1}


def test_a_changed_gate_reruns_no_gpu_step_but_the_report(finished):
    planned = finished.planned("--config", "gates={'quality': {'aji': {'pass': 0.6}}}")

    assert set(planned) == {"summarize", "build_report"}


def test_another_device_reruns_nothing(finished):
    assert not finished.planned("--config", "device=cuda")


def test_another_batch_size_reruns_nothing_but_the_report_that_names_it(finished):
    assert set(finished.planned("--config", "features={'batch_size': 4}")) == {"build_report"}


def test_shards_are_jobs_of_their_own_that_meet_in_one_file(finished):
    planned = finished.planned("--config", "features={'shards': 3}", "--", "results/features/fold1_check.json")

    assert (planned["extract_features"], planned["join_shards"], planned["check_features"]) == (3, 1, 1)
    assert "prepare_fold" not in planned


def test_a_lost_shard_costs_only_itself(finished):
    sharded = ("--config", "features={'shards': 2, 'batch_size': 2}", "results='sharded'")
    target = "sharded/features/fold2.h5"
    done = finished.snakemake("--cores", "2", *sharded, "--", target)
    assert done.returncode == 0, done.stderr[-4000:]
    shard = finished.home / "sharded/features/shards/fold2_2of2.h5"

    shard.unlink()
    alone = finished.planned(*sharded, "--", "sharded/features/shards/fold2_2of2.h5")
    (finished.home / target).unlink()
    with_the_fold = finished.planned(*sharded, "--", target)

    assert alone == {"extract_features": 1}
    assert with_the_fold == {"extract_features": 1, "join_shards": 1}


def test_moved_results_rerun_nothing_on_a_gpu(finished):
    moved = finished.home / "moved"
    finished.results.rename(moved)
    try:
        planned = finished.planned("--config", "results=moved")
    finally:
        moved.rename(finished.results)

    assert not set(planned) & GPU_STEPS


def test_a_touched_fold_reruns_nothing(finished):
    touched = [*finished.raw(1).values(), *finished.raw(3).values()]
    for path in touched:
        path.touch()

    assert finished.patients(3) in touched
    assert not finished.planned()


def test_patients_that_change_disappear_or_appear_prepare_their_fold_again(finished):
    here, elsewhere = finished.patients(3), finished.patients(1)
    original = here.read_bytes()

    np.save(here, np.array(["p1", "p2", "p2", "p3"]))
    changed = finished.planned()
    here.unlink()
    disappeared = finished.planned()
    here.write_bytes(original)
    restored = finished.planned()
    np.save(elsewhere, np.array(["p1"] * 5))
    appeared = finished.planned()
    elsewhere.unlink()

    assert [jobs["prepare_fold"] for jobs in (changed, disappeared, appeared)] == [1, 1, 1]
    assert not restored
    assert not finished.planned()


@pytest.mark.parametrize(
    ("module", "steps"),
    [
        pytest.param("inference/grading.py", {"summarize", "build_report"}, id="of_the_summary"),
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


def test_a_comment_and_a_docstring_rerun_nothing(finished):
    path = finished.home / "cellvit" / "training" / "hovernet.py"
    original = path.read_text()

    path.write_text("# why\n" + original.replace('"""Training of', '"""How to train'))
    planned = finished.planned()
    path.write_text(original)

    assert not planned


def test_a_family_added_leaves_the_others_alone(finished):
    planned = finished.planned("--config", "families={'hepatic': ['Kidney']}")

    assert planned["train_hovernet"] == 2, "the new family and the pooled control"
    assert planned["gather_family"] == 2
    assert "extract_features" not in planned


def test_a_changed_fold_reruns_what_depends_on_it_and_then_nothing(finished):
    images = np.load(finished.raw(3)["images"])
    images[0, 5, 5] = 255 - images[0, 5, 5]
    np.save(finished.raw(3)["images"], images)

    planned = finished.planned()
    done = finished.snakemake("--cores", "2")

    assert (planned["prepare_fold"], planned["extract_features"], planned["check_features"]) == (1, 1, 1)
    assert planned["gather_family"] == planned["evaluate_family"] == 5
    assert "simulate_pannuke" not in planned
    assert done.returncode == 0, done.stderr[-4000:]
    log = (finished.results / "logs/extract_features/fold3.log").read_text()
    assert "features written tiles=4 of which reused=0" in log, "one block of eight holds the changed tile"
    assert not finished.planned()
