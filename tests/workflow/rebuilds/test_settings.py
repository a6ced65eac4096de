"""What reruns when settings change."""

import pytest
from rebuilding import ENDING, change, checked, decoders, evaluated, gathered, organ_head, trained
from workshop import Workshop

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


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

    assert ran == {
        *organ_head("2"),
        *trained(*decoders(made), split="2"),
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
