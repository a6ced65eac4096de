"""What reruns after each kind of change: one test for each row of docs/rebuilds.md, each by a real run.

The tests share one workshop. Each starts where nothing is to be done, changes one thing, runs, and leaves a run with nothing
to be done; so they hold in any order, but not side by side.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from workshop import Workshop, make_workshop, write_raw

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

ORGANS = {1: ["Colon", "Breast", "Stomach", "Kidney"], 2: ["Colon", "Breast"], 3: ["Colon", "Breast", "Kidney"]}

SETTINGS: dict[str, Any] = {
    "data": {"root": "raw"},
    "families": {
        "digestive": ["Colon", "Stomach"],
        "glandular": ["Breast"],
        **dict.fromkeys(("urologic", "epidermal", "respiratory")),
    },
    "splits": {"2": None, "3": None},
    "encoder": {"preset": "tiny-vit", "weights": "random"},
    "organ_head": {"epochs": 2},
    "decoder": {"widths": [16, 12, 8, 8, 8], "stem_widths": [4, 8]},
    "training": {"epochs": 1, "bpq_every": 1, "batch_size": 2},
    "watershed": {"method": ["hovernet"], "np_threshold": [0.5], "hv_threshold": [0.4], "min_object_px": [10]},
}

ENDING = {"evaluate_routed/split1", "summarize/summary", "build_report/report"}


def of_fold(fold: int) -> set[str]:
    """A fold from its raw files to the proof of its features."""
    return {f"{step}/fold{fold}" for step in ("prepare_fold", "extract_features", "check_features")}


def gathered(*families: str) -> set[str]:
    return {f"gather_family/{family}" for family in families}


def checked(*families: str) -> set[str]:
    return {f"check_targets/{family}" for family in families}


def trained(*families: str, split: str = "1") -> set[str]:
    """Decoders, and what comes of their weights."""
    steps = ("train_hovernet/split{}_{}", "publish_checkpoint/split{}_hovernet_{}", "tune_watershed/split{}_{}")
    return {step.format(split, family) for family in families for step in steps} | evaluated(*families, split=split)


def evaluated(*families: str, split: str = "1") -> set[str]:
    return {f"evaluate_family/split{split}_{family}" for family in families}


def organ_head(split: str = "1") -> set[str]:
    return {f"train_organ_head/split{split}", f"publish_checkpoint/split{split}_organ_head"}


def change(workshop: Workshop, **sections: Any) -> None:
    """Lay settings over those of the workshop."""

    def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
        merged = {
            key: over(below[key], value)
            if isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
            else value
            for key, value in above.items()
        }
        return {**below, **merged}

    path = workshop.home / "small.yaml"
    path.write_text(yaml.safe_dump(over(yaml.safe_load(path.read_text()), sections)))


def edit(workshop: Workshop, module: str, text: str = "\nEDITED = 1\n") -> None:
    path = workshop.home / "cellvit" / module
    path.write_text(path.read_text() + text)


def repaint(path: Path, tile: int) -> None:
    """Invert one pixel of a tile."""
    images = np.load(path)
    images[tile, 5, 5] = 255 - images[tile, 5, 5]
    np.save(path, images)


def move(workshop: Workshop, old: str, new: str) -> None:
    """Let the results lie in another folder, as settings say too."""
    (workshop.home / old).rename(workshop.home / new)
    change(workshop, results=new)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Workshop:
    workshop = make_workshop(tmp_path_factory.mktemp("rebuilds"), repository, yaml.safe_dump(SETTINGS), ORGANS)
    workshop.ran()
    return workshop


@pytest.fixture
def made(whole: Workshop) -> Iterator[Workshop]:
    """The workshop with nothing to be done, before and after."""
    assert not whole.planned()
    yield whole
    assert not whole.planned()


def test_touched_folds_rerun_nothing(made: Workshop) -> None:
    for fold in (1, 2, 3):
        for path in made.raw(fold).values():
            path.touch()

    assert made.ran() == set()


def test_a_tile_of_the_test_fold_reruns_its_families_evaluation_and_no_decoder(made: Workshop) -> None:
    repaint(made.raw(3)["images"], ORGANS[3].index("Colon"))

    ran = made.ran()

    concerned = ("digestive", "all")
    assert ran == {
        *of_fold(3),
        *gathered("digestive", "glandular", "all"),
        *checked(*concerned),
        *organ_head(),
        *evaluated(*concerned),
        *ENDING,
    }


def test_a_tile_of_the_training_fold_retrains_the_families_that_hold_it(made: Workshop) -> None:
    repaint(made.raw(1)["images"], ORGANS[1].index("Breast"))

    ran = made.ran()

    assert trained("glandular", "all") | checked("glandular", "all") <= ran
    assert not {job for job in ran if job.startswith("train_hovernet/") and "digestive" in job}
    assert evaluated("digestive") <= ran, "the pooled control beside it is another"
    assert not {job for job in ran if job.startswith(("prepare_fold", "extract_features")) and "fold1" not in job}


def test_content_that_changed_with_its_time_kept_is_noticed_by_the_next_call(made: Workshop) -> None:
    path = made.raw(2)["images"]
    original, times = path.read_bytes(), path.stat()
    repaint(path, 0)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    changed = made.planned()
    path.write_bytes(original)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert changed["prepare_fold"] == changed["extract_features"] == 1


def test_an_added_fold_is_prepared_and_gathered_and_retrains_nothing(made: Workshop) -> None:
    write_raw(made.home / "raw", 4, ["Colon", "Breast"])
    change(made, data={"folds": [1, 2, 3, 4]})

    ran = made.ran()

    families = ("digestive", "glandular", "all")
    assert ran == {*of_fold(4), *gathered(*families), *checked(*families), "build_report/report"}


def test_an_organ_moved_to_another_family_retrains_the_two_families_alone(made: Workshop) -> None:
    change(made, families={"digestive": ["Colon"], "glandular": ["Breast", "Stomach"]})

    ran = made.ran()

    both = ("digestive", "glandular")
    assert ran == {*gathered(*both), *checked(*both), *trained(*both), *ENDING}


def test_an_added_family_is_trained_and_so_is_the_pooled_control(made: Workshop) -> None:
    change(made, families={"renal": ["Kidney"]})

    ran = made.ran()

    new = ("renal", "all")
    assert ran == {*gathered(*new), *checked(*new), *trained(*new), *evaluated("digestive", "glandular"), *ENDING}


def test_an_added_split_is_run_and_the_other_stays(made: Workshop) -> None:
    change(made, splits={"2": {"train": 2, "validate": 1, "test": 3}})

    ran = made.ran()
    change(made, splits={"2": None})
    back = made.ran()

    families = (
        ("digestive", "glandular", "renal", "all")
        if "hovernet_renal" in str(ran)
        else ("digestive", "glandular", "all")
    )
    assert ran == {
        *organ_head("2"),
        *trained(*families, split="2"),
        "evaluate_routed/split2",
        "summarize/summary",
        "build_report/report",
    }
    assert back == {"summarize/summary", "build_report/report"}


def test_another_encoder_reruns_everything_but_the_preparation(made: Workshop) -> None:
    change(made, encoder={"seed": 1})

    ran = made.ran()

    steps = {job.split("/")[0] for job in ran}
    assert not {job for job in ran if job.startswith("prepare_fold")}
    assert {"extract_features", "check_features", "gather_family", "train_organ_head", "train_hovernet"} <= steps
    assert ran >= ENDING


def test_an_added_tap_is_extracted_and_a_stored_one_is_chosen_without_extraction(made: Workshop) -> None:
    change(made, features={"taps": [1, 3]}, decoder={"taps": [3]})
    added = made.ran()
    change(made, decoder={"taps": [1]})

    chosen = made.ran()

    assert {"extract_features/fold1", "train_hovernet/split1_all"} <= added
    steps = {job.split("/")[0] for job in chosen}
    assert steps == {
        "train_hovernet", "publish_checkpoint", "tune_watershed", "evaluate_family",
        "evaluate_routed", "summarize", "build_report",
    }  # fmt: skip
    assert "publish_checkpoint/split1_organ_head" not in chosen


def test_another_loss_weight_retrains_the_decoders_and_no_organ_head(made: Workshop) -> None:
    change(made, training={"loss": {"hv_magnitude": 1.5}})

    ran = made.ran()

    assert trained("digestive", "glandular", "all") | ENDING <= ran
    assert not {job for job in ran if job.split("/")[0] in {"train_organ_head", "extract_features", "gather_family"}}


def test_another_watershed_grid_tunes_and_evaluates_again_and_trains_nothing(made: Workshop) -> None:
    change(made, watershed={"hv_threshold": [0.5]})

    ran = made.ran()

    assert {job.split("/")[0] for job in ran} == {
        "tune_watershed", "evaluate_family", "evaluate_routed", "summarize", "build_report",
    }  # fmt: skip


def test_another_gate_writes_the_summary_and_the_report_again(made: Workshop) -> None:
    change(made, gates={"quality": {"aji": {"pass": 0.61}}})

    assert made.ran() == {"summarize/summary", "build_report/report"}


def test_another_text_of_the_report_builds_it_again(made: Workshop) -> None:
    edit(made, "report/index.html.j2", "<!-- edited -->\n")

    assert made.ran() == {"build_report/report"}


def test_an_edited_module_reruns_the_steps_that_reach_it_and_stops_where_they_make_the_same(made: Workshop) -> None:
    edit(made, "stages/prepare_fold.py")
    prepared = made.ran()
    edit(made, "training/schedule.py")
    fitted = made.ran()

    assert {job.split("/")[0] for job in prepared} == {"prepare_fold"}
    assert {job.split("/")[0] for job in fitted} == {"train_hovernet", "train_organ_head", "publish_checkpoint"}


def test_comments_docstrings_and_formatting_rerun_nothing(made: Workshop) -> None:
    path = made.home / "cellvit" / "training" / "hovernet.py"
    path.write_text("# why\n\n\n" + path.read_text().replace('"""Training of', '"""How to train'))

    assert made.ran() == set()


@pytest.mark.parametrize(
    ("name", "edit", "reads_it"),
    [
        ("watershed/split1/digestive.json", ("0.5", "0.51"), "evaluate_family"),
        ("evaluation/split1/digestive.json", ('"value": 0.', '"value": 0.9'), "summarize"),
        ("evaluation/split1/digestive_tiles.csv", ("Colon", "Stomach"), "evaluate_routed"),
    ],
)
def test_a_result_that_was_edited_by_hand_stops_what_reads_it(
    made: Workshop, name: str, edit: tuple[str, str], reads_it: str
) -> None:
    path = made.results / name
    original = path.read_text()
    assert edit[0] in original
    path.write_text(original.replace(*edit))

    stopped = made.snakemake("--cores", "2")
    said = "".join(log.read_text() for log in (made.results / "logs" / reads_it).glob("*.log"))
    path.write_text(original)
    ran = made.ran()

    assert stopped.returncode != 0
    assert re.search(rf"results/{name}: (was changed after|is not the table)", said)
    assert f"rm results/{name} && snakemake -- results/{name}" in said
    assert {job.split("/")[0] for job in ran} <= {"evaluate_family", "evaluate_routed", "summarize", "build_report"}


def test_a_lost_result_is_made_again_and_what_follows_stays(made: Workshop) -> None:
    (made.results / "watershed/split1/digestive.json").unlink()

    assert made.ran() == {"tune_watershed/split1_digestive"}


def test_a_lost_store_is_made_again_when_it_is_read(made: Workshop) -> None:
    shutil.move(made.results / "features/fold3.h5", made.home / "lost.h5")

    idle = made.ran()
    asked = made.ran("--", "results/features/fold3.h5")

    assert idle == set()
    assert asked == {"extract_features/fold3"}


def test_moved_results_rerun_nothing_and_changes_count_there_at_once(made: Workshop) -> None:
    move(made, "results", "moved")
    untouched = made.planned()
    change(made, gates={"quality": {"aji": {"pass": 0.62}}})

    ran = made.ran()
    move(made, "moved", "results")
    back = made.planned()
    change(made, gates={"quality": {"aji": {"pass": 0.61}}})
    again = made.ran()

    assert untouched == back == {}
    assert ran == again == {"summarize/summary", "build_report/report"}


def test_a_fresh_clone_knows_how_results_were_made(made: Workshop) -> None:
    (made.home / ".snakemake").rename(made.home / "of_another_clone")
    untouched = made.planned()
    shutil.rmtree(made.home / ".snakemake")
    settings = (made.home / "small.yaml").read_text()
    change(made, training={"learning_rate": 3.0e-4})

    planned = made.planned()

    (made.home / "small.yaml").write_text(settings)
    shutil.rmtree(made.home / ".snakemake")
    (made.home / "of_another_clone").rename(made.home / ".snakemake")
    assert untouched == {}
    assert planned["train_hovernet"] >= 3


def test_an_older_copy_put_in_the_place_of_results_is_known_for_what_it_is(made: Workshop) -> None:
    shutil.copytree(made.results, made.home / "copy", copy_function=shutil.copyfile)
    change(made, gates={"quality": {"aji": {"pass": 0.63}}})
    made.ran()
    shutil.rmtree(made.results)
    (made.home / "copy").rename(made.results)

    ran = made.ran()

    assert ran == {"summarize/summary", "build_report/report"}


def test_a_product_that_was_edited_elsewhere_is_named_until_it_is_accepted(made: Workshop) -> None:
    evaluation = made.results / "evaluation/split1/digestive.json"
    original = evaluation.read_text()
    evaluation.write_text(original.replace("0.", "0.0", 1))
    move(made, "results", "moved")

    told = made.snakemake("-n")
    accepted = made.snakemake("--cores", "2", "--touch", "--forceall")
    quiet = made.snakemake("-n")
    (made.home / "moved/evaluation/split1/digestive.json").write_text(original)
    made.ran()
    move(made, "moved", "results")

    assert accepted.returncode == 0, accepted.stderr
    assert "the first evaluation/split1/digestive.json" in told.stderr
    assert "make verify && snakemake --touch" in told.stderr
    assert "make verify" not in quiet.stderr


def test_a_failed_training_leaves_the_old_checkpoint_and_is_not_forgotten(made: Workshop) -> None:
    checkpoint = made.results / "checkpoints/split1/hovernet_digestive.safetensors"
    before = checkpoint.read_bytes()
    module = made.home / "cellvit" / "training" / "schedule.py"
    original = module.read_text()
    module.write_text(original + "\nraise RuntimeError('out of luck')\n")

    failed = made.snakemake("--cores", "2")
    kept = checkpoint.read_bytes()
    again = made.planned()
    alone = made.planned("--", str(checkpoint.relative_to(made.home)))
    module.write_text(original)
    ran = made.ran()

    assert failed.returncode != 0
    assert kept == before
    assert again["train_hovernet"] >= 3
    assert alone["train_hovernet"] == alone["publish_checkpoint"] == 1
    assert {"train_hovernet/split1_digestive", "train_organ_head/split1"} <= ran
    assert not evaluated("digestive") & ran, "its weights are the same again"
