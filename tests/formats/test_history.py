import math
from pathlib import Path

import pytest

from cellvit.errors import MissingInputError
from cellvit.formats.history import (
    HOVERNET_HISTORY,
    LOSS_PARTS,
    ORGAN_HEAD_HISTORY,
    RoundRecord,
    read_history,
    write_history,
)
from cellvit.losses.hover import LossParts


def record(step: int, accuracy: float) -> RoundRecord:
    values = {"total": math.nan, "accuracy": accuracy, "balanced_accuracy": 0.25}
    return RoundRecord(step, step / 4, 1e-3 / 3, {"total": 0.5}, values)


def test_a_history_has_a_row_for_each_round_with_nine_digits_and_marks_the_selected_one(tmp_path: Path) -> None:
    write_history(tmp_path / "h.csv", ORGAN_HEAD_HISTORY, [record(3, 1.0), record(6, 1e-7)], selected=3)

    assert (tmp_path / "h.csv").read_text() == (
        "step,epochs,rate,train_total,validate_total,validate_accuracy,validate_balanced_accuracy,selected\n"
        "3,0.75,0.000333333333,0.5,,1,0.25,1\n"
        "6,1.5,0.000333333333,0.5,,1e-07,0.25,0\n"
    )
    table = read_history(tmp_path / "h.csv")
    assert table["step"].tolist() == [3, 6]
    assert table["validate_total"].isna().all()
    assert table["selected"].tolist() == [1, 0]


def test_the_history_of_a_model_that_was_not_trained_is_its_header_and_a_missing_one_is_named(tmp_path: Path) -> None:
    write_history(tmp_path / "h.csv", HOVERNET_HISTORY, (), selected=0)

    assert (tmp_path / "h.csv").read_text() == ",".join(HOVERNET_HISTORY.columns) + "\n"
    assert len(read_history(tmp_path / "h.csv")) == 0
    with pytest.raises(MissingInputError, match=r"none\.csv"):
        read_history(tmp_path / "none.csv")


def test_the_columns_are_the_parts_of_the_loss_and_the_metrics_of_the_maps() -> None:
    assert LossParts._fields == LOSS_PARTS
    assert HOVERNET_HISTORY.columns[:4] == ("step", "epochs", "rate", "train_np")
    assert {"train_hv_l1", "validate_hv_skill", "validate_hv_length", "validate_bpq"} <= set(HOVERNET_HISTORY.columns)
