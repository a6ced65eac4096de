import math

import pytest
import torch
from torch import nn

from cellvit.errors import ContractError
from cellvit.formats.history import EpochRecord
from cellvit.formats.training_state import Progress
from cellvit.training.selection import Kept, kept_of, with_epoch


def trained(module: nn.Linear, values: list[float]) -> Kept:
    """What is kept of a training that sets the bias to the number of the epoch."""
    progress = Progress()
    for epoch, value in enumerate(values, 1):
        nn.init.constant_(module.bias, epoch)
        progress = with_epoch(progress, EpochRecord(epoch, 1e-3, {}, {"bpq": value}), module, "bpq")
    return kept_of(progress, "bpq")


@pytest.mark.parametrize(
    ("values", "epoch"),
    [
        pytest.param([0.1, 0.3, 0.2], 2, id="best"),
        pytest.param([0.3, 0.3], 1, id="first_of_equal_ones"),
        pytest.param([math.nan, 0.1, math.nan], 2, id="unmeasured_epochs_cannot_win"),
        pytest.param([0.0, math.nan], 1, id="zero_is_a_measurement"),
    ],
)
def test_the_best_measured_epoch_is_kept_with_its_weights(values, epoch):
    kept = trained(nn.Linear(1, 1), values)

    assert kept.record.epoch == epoch
    assert kept.weights["bias"].item() == epoch
    assert kept.selection == "best validation bpq"
    assert len(kept.history) == len(values)


def test_without_any_measurement_the_last_epoch_is_kept_and_says_so():
    kept = trained(nn.Linear(1, 1), [math.nan, math.nan])

    assert kept.record.epoch == 2
    assert kept.weights["bias"].item() == 2
    assert "last epoch" in kept.selection


def test_kept_weights_do_not_change_with_the_module():
    module = nn.Linear(1, 1)

    kept = trained(module, [0.5])
    with torch.no_grad():
        module.bias.fill_(99)

    assert kept.weights["bias"].item() == 1


def test_no_epoch_is_refused():
    with pytest.raises(ContractError, match="at least one epoch"):
        kept_of(Progress(), "bpq")
