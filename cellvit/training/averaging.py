"""Moving average of the weights of a model in training, which is used in place of the weights of the last step.

References:
    Polyak and Juditsky 1992, Acceleration of stochastic approximation by averaging; Tarvainen and Valpola 2017,
    Mean teachers, arXiv 1703.01780 (exponential average, with a lower decay in the first steps).
"""

import copy
from typing import Final

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

_FIRST_STEPS: Final = 10
"""The decay of step s is at most (1 + s) / (10 + s), as in TensorFlow's ExponentialMovingAverage: the average is then over
about the last tenth of the steps, so that the random weights of the start fade also in a short training."""


class WeightAverage:
    """A copy of a model whose weights and buffers follow those of the model as an exponential moving average.

    The running statistics of BatchNorm are averaged likewise, not copied: they then belong to the same stretch of the
    training as the weights, and vary less than the statistics of the last few batches. Counters are copied.

    Args:
        model: On its device; the average starts from its weights.
        decay: Share of the average that one step leaves in place, below 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        self._averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    def update(self, step: int) -> None:
        """Take in the weights after step number `step`, counted from 0."""
        averages, values = map(list, zip(*self._averaged, strict=True))
        decay = min(self._decay, (1 + step) / (_FIRST_STEPS + step))
        get_ema_multi_avg_fn(decay)(averages, values, step)
        for own, value in self._copied:
            own.copy_(value)
