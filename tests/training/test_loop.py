import math
from itertools import pairwise
from typing import NamedTuple

import pytest
import torch
from torch import nn

from cellvit.errors import TrainingDivergedError
from cellvit.training.loop import Means, adamw, rate_at, train_steps


class Loss(NamedTuple):
    total: torch.Tensor

    def as_floats(self):
        return {"total": float(self.total.detach())}


def square_loss(layer: nn.Linear):
    return lambda batch: Loss((layer(batch) - 3).square().mean())


def layer_of() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(2, 1)


def test_each_step_reports_its_batch_rate_and_parts():
    layer = layer_of()
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    batches = [torch.ones(4, 2), torch.ones(2, 2)]

    steps = list(train_steps(batches, square_loss(layer), optimizer, lambda number: 0.1 / number, first=5))

    assert [(step.number, step.n, step.rate) for step in steps] == [(5, 4, 0.02), (6, 2, pytest.approx(0.1 / 6))]
    assert steps[1].parts["total"] < steps[0].parts["total"]


def test_gradients_are_clipped_to_the_norm():
    layer = layer_of()
    before = torch.cat([p.detach().flatten().clone() for p in layer.parameters()])
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)

    (step,) = train_steps([100 * torch.ones(4, 2)], square_loss(layer), optimizer, lambda _: 1.0, max_norm=0.5)

    after = torch.cat([p.detach().flatten() for p in layer.parameters()])
    assert step.norm > 0.5
    assert float((after - before).norm()) == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(bad):
    layer = layer_of()
    before = layer.weight.detach().clone()
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    steps = train_steps([torch.full((2, 2), bad)], square_loss(layer), optimizer, lambda _: 1.0)

    with pytest.raises(TrainingDivergedError, match=r"step 0: .*learning rate of 1\. Fix: lower the learning rate"):
        next(steps)

    assert torch.equal(layer.weight, before)


def test_only_weights_of_layers_decay():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))

    decayed, others = adamw([module], learning_rate=1e-3, weight_decay=0.1).param_groups

    assert [p.shape for p in decayed["params"]] == [(2, 1, 3, 3)]
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert len(others["params"]) == 3


def test_means_weigh_batches_by_their_tiles():
    means = Means()
    means.add({"np": 1.0}, 3)
    means.add({"np": 5.0}, 1)

    assert means.values() == {"np": 2.0}


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
