import math

import pytest
from torch import nn

from cellvit.errors import ContractError
from cellvit.formats.history import EpochRecord
from cellvit.formats.training_state import TrainingState
from cellvit.training.selection import selected_model, with_epoch


@pytest.mark.parametrize(
    ("values", "epoch", "selection"),
    [
        pytest.param([0.1, 0.3, 0.2], 2, "best validation bpq", id="best"),
        pytest.param([0.3, 0.3], 1, "best validation bpq", id="first_of_equal_ones"),
        pytest.param([math.nan, 0.1, math.nan], 2, "best validation bpq", id="epochs_without_a_value_are_never_better"),
        pytest.param([0.0, math.nan], 1, "best validation bpq", id="zero_is_a_value"),
        pytest.param([math.nan, math.nan], 2, "last epoch", id="last_without_any_value"),
    ],
)
def test_the_epoch_of_the_best_value_is_selected_with_its_weights(values, epoch, selection):
    module, state = nn.Linear(1, 1), TrainingState()
    for number, value in enumerate(values, 1):
        nn.init.constant_(module.bias, number)
        state = with_epoch(state, EpochRecord(number, 1e-3, {}, {"bpq": value}), module, "bpq")
    nn.init.constant_(module.bias, 99)  # the selected weights are a copy

    model = selected_model(state, "bpq")

    assert model.record.epoch == epoch
    assert model.weights["bias"].item() == epoch
    assert model.selection.startswith(selection)
    assert len(model.history) == len(values)


def test_a_training_without_epochs_is_refused():
    with pytest.raises(ContractError, match="at least one epoch"):
        selected_model(TrainingState(), "bpq")
