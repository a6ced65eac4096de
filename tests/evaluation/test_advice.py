import dataclasses
import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellvit.config.evaluation import QualityGates
from cellvit.config.models import DecoderSettings, TrainingSettings
from cellvit.evaluation.advice import FEW_STEPS, LENGTH_ALONE, advice
from cellvit.evaluation.grading import GRADED, graded
from cellvit.evaluation.training_record import TrainingRecord, training_record
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.provenance import Provenance
from cellvit.formats.summary import SummaryRow

GATES = QualityGates()


def rows(**values: float) -> dict[str, SummaryRow]:
    named = {name.replace("__", "."): value for name, value in values.items()}
    found = {name: SummaryRow("1", "digestive", name, value, *[math.nan] * 4, 9, 9) for name, value in named.items()}
    return graded(found, GATES)


def record(**changes: object) -> TrainingRecord:
    return dataclasses.replace(TrainingRecord(steps=2 * FEW_STEPS), **changes)


def trained(loss: dict[str, float] | None = None, **training: object) -> dict[str, object]:
    changed = TrainingSettings.model_validate({**training, "loss": loss or {}})
    return {"training": changed.model_dump()}


@pytest.mark.parametrize(
    ("values", "known", "fix"),
    [
        pytest.param({"hv_angle": 60}, record(), "raise training.loss.hv_weight from 2 to 3", id="noise"),
        pytest.param(
            {"hv_skill": -0.1}, record(**trained({"hv_weight": 1})), "hv_weight from 1 to 2", id="low_weight_of_hv"
        ),
        pytest.param({"np_dice": 0.5}, record(), "raise training.loss.np_weight from 1 to 1.5", id="low_dice"),
        pytest.param(
            {"np_dice": 0.5},
            record(steps=450),
            "only 450 steps were taken: train longer (training.steps: 3000), or start",
            id="few_steps",
        ),
        pytest.param(
            {"hv_angle": 60}, record(clipped=0.83), "83% of the gradients were clipped to 1: raise", id="clipped"
        ),
        pytest.param(
            {"aji": 0.2}, record(still_falls=True), "raise training.learning_rate to 0.0002", id="loss_still_falls"
        ),
        pytest.param(
            {"aji": 0.2},
            record(still_falls=True, **trained(learning_rate=1e-3)),
            f"training.steps: {4 * FEW_STEPS}",
            id="longer",
        ),
        pytest.param(
            {"bpq": 0.25, "bpq__classical": 0.27}, record(), "extract finer tokens", id="strong_hv_below_baseline"
        ),
        pytest.param(
            {"aji": 0.2},
            record(decoder=DecoderSettings(image_stem="none").model_dump()),
            "decoder.image_stem: rgb",
            id="without_the_image",
        ),
        pytest.param({"gap_np_dice": 0.5}, record(), "raise decoder.dropout from 0.1 to 0.2", id="overfits"),
    ],
)
def test_the_first_remedy_follows_from_the_settings_and_the_curves(values, known, fix) -> None:
    signal = {} if {"hv_angle", "hv_skill"} & set(values) else {"hv_skill": 0.7, "hv_angle": 20.0}

    (one,) = advice(rows(**values, **signal), known)

    assert fix in one.fix


def test_the_advice_names_value_grade_and_the_baseline_that_was_not_beaten() -> None:
    (one,) = advice(rows(bpq=0.25, bpq__classical=0.27))

    assert one.result == "bpq 0.250 fail (not better than bpq.classical, 0.270)"


def test_short_vectors_need_no_change_where_their_direction_is_right() -> None:
    (right,) = advice(rows(hv_length=0.1, hv_skill=0.4, hv_angle=20.0))
    wrong = advice(rows(hv_length=0.1, hv_skill=-0.2, hv_angle=60.0))

    assert (right.fix, right.changes) == (LENGTH_ALONE, ())
    assert {one.fix for one in wrong} == {"HV is noisy: raise training.loss.hv_weight from 2 to 3"}


def test_without_a_weight_of_np_to_raise_no_other_metric_contradicts() -> None:
    """The case of the earlier advice: short vectors and a low Dice asked for a higher and a lower magnitude weight."""
    found = advice(rows(hv_length=0.1, hv_skill=-0.1, np_dice=0.5))

    assert len(found) == 3
    assert not any("magnitude" in one.fix for one in found)


@pytest.mark.parametrize("weighting", ["fixed", "adaptive"])
def test_the_weights_of_all_parts_of_the_loss_are_never_raised_together(weighting) -> None:
    """AdamW does not see the scale of a loss: three weights that are raised by half change nothing."""
    found = advice(
        rows(hv_angle=60, np_dice=0.5, nt_accuracy=0.2, nt_accuracy__trivial=0.4),
        record(**trained({"weighting": weighting})),
    )

    assert len(found) == 3
    assert sum("_weight" in one.fix for one in found) == 1
    assert "run again: to raise the weights of all parts changes nothing" in found[1].fix


def test_learned_weights_are_not_advised_to_be_raised() -> None:
    (one,) = advice(rows(hv_angle=60), record(**trained({"weighting": "adaptive"})))

    assert one.fix == "HV is noisy: set training.loss.weighting: fixed, and training.loss.hv_weight: 2"


def test_decoders_that_were_not_trained_are_advised_to_be_trained() -> None:
    known = record(steps=0, **trained(steps=0, start_from="models/"))

    found = advice(rows(hv_angle=60, np_dice=0.5, gap_np_dice=0.5), known)

    assert {one.fix for one in found} == {
        "the weights of training.start_from were not trained on these tiles: train them (training.steps: 3000)"
    }


def test_finer_tokens_are_not_advised_where_they_are_in_use() -> None:
    values = rows(aji=0.2, hv_skill=0.7, hv_angle=20.0)

    (coarse,), (fine,) = advice(values, record()), advice(values, record(input_px=448))

    assert "features.input_px: 448" in coarse.fix
    assert "features.input_px" not in fine.fix


def test_a_decoder_that_is_far_worse_on_its_training_tiles_does_not_pass_as_one_without_a_gap() -> None:
    graded_rows = rows(gap_np_dice=-0.5, gap_hv_mse=-0.2)

    (one,) = advice(graded_rows)

    assert (graded_rows["gap_np_dice"].gate, graded_rows["gap_hv_mse"].gate) == ("fail", "pass")
    assert "the training tiles are worse than the test tiles" in one.fix


GRADE = st.sampled_from(["pass", "partial", "fail", "undefined"])
RECORDS = st.builds(
    TrainingRecord,
    training=st.builds(
        lambda **loss: TrainingSettings.model_validate({"loss": loss}).model_dump(),
        hv_weight=st.floats(0, 4),
        np_weight=st.floats(0, 4),
        hv_magnitude_weight=st.floats(0, 4),
        class_weights=st.booleans(),
        weighting=st.sampled_from(["fixed", "adaptive"]),
    ),
    steps=st.integers(0, 4 * FEW_STEPS),
    still_falls=st.booleans(),
    clipped=st.one_of(st.just(math.nan), st.floats(0, 1)),
)


@given(grades=st.dictionaries(st.sampled_from(GRADED), GRADE, min_size=1), known=st.one_of(st.none(), RECORDS))
def test_no_setting_is_both_raised_and_lowered_for_one_decoder(grades, known) -> None:
    graded_rows = {
        metric: SummaryRow("1", "digestive", metric, 0.1, *[math.nan] * 4, 9, 9, grade)
        for metric, grade in grades.items()
    }

    found = advice(graded_rows, known)

    changes = [change for one in found for change in one.changes]
    assert len({change.setting for change in changes}) == len(set(changes))
    assert len(found) == sum(grade in ("partial", "fail") for grade in grades.values())  # nobody is left without advice


@pytest.mark.parametrize(
    ("train", "validate", "expected"),
    [
        pytest.param([3.0, 2.0], [3.0, 2.0], True, id="falls"),
        pytest.param([2.0, 1.99], [2.0, 1.99], False, id="flat"),
        pytest.param([3.0, 2.0], [2.0, 2.5], False, id="falls_in_training_alone"),
        pytest.param([3.0, 2.0], [math.nan, math.nan], True, id="not_validated"),
        pytest.param([3.0], [3.0], False, id="one_round"),
    ],
)
def test_the_record_says_whether_the_loss_still_fell(train, validate, expected) -> None:
    assert training_record(header(), history(train, validate)).still_falls == expected


def test_a_training_that_ended_early_does_not_need_more_steps() -> None:
    falling = history([3.0, 2.0], [3.0, 2.0])

    assert training_record(header(steps=200), falling).still_falls
    assert not training_record(header(steps=5000), falling).still_falls


def test_the_record_has_steps_weights_and_the_share_of_clipped_steps() -> None:
    known = training_record(header(), history([3.0, 2.0], [3.0, 2.0]))

    assert (known.steps, known.clipped, known.is_shared) == (200, 0.75, False)
    assert known.loss_weight("hv_weight") == 2.5
    assert (
        training_record(
            header().model_copy(update={"encoder": {"features": {"input_px": 448}}}), history([], [])
        ).input_px
        == 448
    )
    assert training_record(header("all"), history([], [])).is_shared
    assert training_record(header(), history([], []), has_shared=False).is_shared


def test_the_shared_decoder_is_not_advised_to_start_from_itself() -> None:
    (family,) = advice(rows(hv_angle=60), record(steps=450))
    (shared,) = advice(rows(hv_angle=60), record(steps=450, is_shared=True))

    assert "start_from: shared" in family.fix
    assert "start_from" not in shared.fix


def history(train: list[float], validate: list[float]) -> pd.DataFrame:
    """Rounds of 100 steps, of which half and then all were clipped."""
    steps, clipped = range(100, 100 + 100 * len(train), 100), [0.5, 1.0][: len(train)]
    columns = {"step": steps, "train_total": train, "train_clipped": clipped, "validate_total": validate}
    return pd.DataFrame(columns)


def header(family: str = "digestive", steps: int | None = None) -> CheckpointHeader:
    given = {"batch_size": 4, "epochs": 1, "min_steps": 0, "steps": steps, "loss": {"hv_weight": 2.5}}
    training = TrainingSettings.model_validate(given).model_dump(mode="json")
    return CheckpointHeader(
        provenance=Provenance(data_set=PANNUKE, settings={"training": training}),
        kind="hovernet",
        split="1",
        family=family,
        status="trained",
        tiles={"train": 9},
        mpp=0.25,
    )
