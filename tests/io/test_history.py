import math

import pandas as pd

from cellvit.formats.history import HOVERNET_HISTORY, LOSS_PARTS, ORGAN_HEAD_HISTORY, EpochRecord, write_history
from cellvit.losses.hover import LossParts


def record(epoch, accuracy):
    return EpochRecord(
        epoch, 1e-3, {"total": 0.5}, {"total": math.nan, "accuracy": accuracy, "balanced_accuracy": 0.25}
    )


def test_a_history_has_a_row_an_epoch_and_marks_the_kept_one(tmp_path):
    write_history(tmp_path / "h.csv", ORGAN_HEAD_HISTORY, [record(1, 0.75), record(2, 0.5)], chosen=1)

    table = pd.read_csv(tmp_path / "h.csv")
    assert table["epoch"].tolist() == [1, 2]
    assert table["validate_accuracy"].tolist() == [0.75, 0.5]
    assert table["chosen"].tolist() == [1, 0]
    assert table["validate_total"].isna().all()


def test_a_training_that_never_was_leaves_the_header(tmp_path):
    write_history(tmp_path / "h.csv", HOVERNET_HISTORY, (), chosen=None)

    assert (tmp_path / "h.csv").read_text() == ",".join(HOVERNET_HISTORY.columns) + "\n"


def test_the_columns_are_the_parts_of_the_loss():
    assert LossParts._fields == LOSS_PARTS
    assert HOVERNET_HISTORY.columns[:3] == ("epoch", "rate", "train_np")
    assert {"train_hv_l1", "validate_hv_skill", "validate_hv_magnitude_mean", "validate_bpq"} <= set(
        HOVERNET_HISTORY.columns
    )
