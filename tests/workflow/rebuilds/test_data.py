"""What reruns when data change."""

import os

import pytest
from rebuilding import ENDING, ORGANS, change, checked, evaluated, gathered, of_fold, organ_head, repaint, trained
from workshop import Workshop, write_raw

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


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
    times = path.stat()
    repaint(path, ORGANS[2].index("Colon"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    ran = made.ran()

    assert of_fold(2) | checked("digestive") <= ran
    assert not {*of_fold(1), *of_fold(3), *checked("glandular")} & ran


def test_an_added_fold_is_prepared_and_gathered_and_retrains_nothing(made: Workshop) -> None:
    write_raw(made.home / "raw", 4, ["Colon", "Breast"])
    change(made, data={"folds": [1, 2, 3, 4]})

    ran = made.ran()

    families = ("digestive", "glandular", "all")
    assert ran == {*of_fold(4), *gathered(*families), *checked(*families), "build_report/report"}


def test_moved_raw_folds_are_prepared_and_named_in_the_report_and_nothing_else(made: Workshop) -> None:
    (made.home / "raw").rename(made.home / "elsewhere")
    change(made, data={"root": "elsewhere"})

    ran = made.ran()
    (made.home / "elsewhere").rename(made.home / "raw")
    change(made, data={"root": "raw"})
    made.ran()

    assert {job.split("/")[0] for job in ran} == {"prepare_fold", "build_report"}
