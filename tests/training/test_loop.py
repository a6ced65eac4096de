import math
from itertools import pairwise
from typing import NamedTuple

import pytest
import torch
from torch import nn

from cellvit.errors import TrainingDivergedError
from cellvit.training.averaging import WeightAverage
from cellvit.training.loop import adamw, averaged, rate_at, train_steps
from cellvit.training.trainable import Trainable

CPU = torch.device("cpu")


class Loss(NamedTuple):
    total: torch.Tensor
    half: torch.Tensor


def square_loss(layer: nn.Module):
    def loss(batch: torch.Tensor) -> Loss:
        total = (layer(batch) - 3).square().mean()
        return Loss(total, total / 2)

    return loss


def trainable_of(layer: nn.Module, ema: float = 0.0) -> Trainable:
    average = WeightAverage(layer, ema) if ema else None
    return Trainable(layer, {}, torch.optim.SGD(layer.parameters(), lr=1.0), CPU, seed=0, average=average)


def layer_of() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(2, 1)


def test_each_step_reports_its_batch_and_rate_and_the_parts_are_averaged_over_the_tiles():
    layer = layer_of()
    batches = [torch.ones(4, 2), torch.ones(2, 2)]

    steps = list(train_steps(trainable_of(layer), batches, square_loss(layer), lambda number: 0.1 / number, first=5))
    rate, means = averaged(steps)

    assert [(step.number, step.n, step.rate) for step in steps] == [(5, 4, 0.02), (6, 2, pytest.approx(0.1 / 6))]
    first, second = (step.values[0].item() for step in steps)
    assert second < first
    assert rate == steps[1].rate
    assert means == pytest.approx({"total": (4 * first + 2 * second) / 6, "half": (4 * first + 2 * second) / 12})


def test_gradients_are_clipped_to_the_norm():
    layer = layer_of()
    before = torch.cat([p.detach().flatten().clone() for p in layer.parameters()])

    (step,) = train_steps(
        trainable_of(layer), [100 * torch.ones(4, 2)], square_loss(layer), lambda _: 1.0, max_norm=0.5
    )

    after = torch.cat([p.detach().flatten() for p in layer.parameters()])
    assert step.values[-1] > 0.5
    assert float((after - before).norm()) == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_noticed_with_the_first_step_that_has_it(bad):
    layer = layer_of()
    batches = [torch.ones(2, 2), torch.full((2, 2), bad), torch.ones(2, 2)]
    steps = train_steps(trainable_of(layer), batches, square_loss(layer), lambda _: 0.1)

    with pytest.raises(TrainingDivergedError, match=r"step 2: .*learning rate of 0\.1\. Fix: lower the learning rate"):
        averaged(steps)


def test_dropout_of_a_step_depends_on_the_seed_and_its_number_alone():
    def values(first: int, n: int) -> list[list[float]]:
        layer = nn.Sequential(nn.Dropout(0.5), layer_of())
        steps = train_steps(
            trainable_of(layer), n * [torch.ones(64, 2)], square_loss(layer), lambda _: 0.0, first=first
        )
        return [step.values.tolist() for step in steps]

    all_three = values(0, 3)

    assert values(1, 2) == all_three[1:]
    assert all_three[0] != all_three[1]


def test_the_average_follows_the_weights_and_the_running_statistics_with_a_decay_that_rises_to_its_limit():
    model = nn.BatchNorm1d(1)
    trainable = trainable_of(model, ema=0.5)
    mean, weight = 0.0, 1.0

    for number, batch in enumerate([torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0], [9.0]])] * 6):
        list(train_steps(trainable, [batch], square_loss(model), lambda _: 0.1, first=number))
        decay = min(0.5, (1 + number) / (10 + number))
        mean = decay * mean + (1 - decay) * model.running_mean.item()
        weight = decay * weight + (1 - decay) * model.weight.item()

    average = trainable.result
    assert average is not model
    assert (average.running_mean.item(), average.weight.item()) == pytest.approx((mean, weight), rel=1e-5)
    assert average.num_batches_tracked.item() == 12
    assert not average.training


def test_only_weights_of_layers_decay():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))

    decayed, others = adamw([module], learning_rate=1e-3, weight_decay=0.1).param_groups

    assert [p.shape for p in decayed["params"]] == [(2, 1, 3, 3)]
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert len(others["params"]) == 3


def rates(steps: int, warmup: float) -> list[float]:
    return [rate_at(step, peak=2.0, steps=steps, warmup=warmup) for step in range(steps)]


def test_the_rate_rises_in_a_line_to_its_peak_and_falls_after():
    found = rates(100, 0.1)

    assert found[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert all(late <= early for early, late in pairwise(found[9:]))
    assert found[-1] < 0.01


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.99])
def test_every_step_of_a_short_training_has_a_rate_over_zero(steps, warmup):
    assert all(0 < rate <= 2.0 for rate in rates(steps, warmup))
