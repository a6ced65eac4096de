"""Everything that a step of a training changes, and how it is stored and restored."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from cellvit.formats.headed import Arrays
from cellvit.formats.training_state import TrainingState, joined, part_of
from cellvit.training.averaging import WeightAverage


@dataclass(frozen=True, slots=True)
class Trainable:
    """Everything that changes from step to step.

    Attributes:
        model: The module that is trained.
        others: Further modules that learn, by name.
        device: Where torch computes.
        seed: Seed of the random numbers of each step.
        average: Moving average of the weights of the model; None where the weights themselves are used.
    """

    model: nn.Module
    others: Mapping[str, nn.Module]
    optimizer: torch.optim.Optimizer
    device: torch.device
    seed: int
    average: WeightAverage | None = None

    @property
    def result(self) -> nn.Module:
        """What is validated, selected and written to the checkpoint: the average, or else the model."""
        return self.average.model if self.average is not None else self.model

    def stored_in(self, state: TrainingState) -> TrainingState:
        """The state with a copy of everything that the next step starts from."""
        parts = {name: as_arrays(module.state_dict()) for name, module in self._modules.items()}
        memory = self.optimizer.state_dict()["state"]
        parts["optimizer"] = joined({str(number): as_arrays(tensors) for number, tensors in memory.items()})
        return replace(state, arrays=joined(parts))

    def restore(self, state: TrainingState) -> None:
        """Set everything to what `state` holds."""
        for name, module in self._modules.items():
            module.load_state_dict(as_tensors(part_of(state.arrays, name)), strict=True)
        memory = part_of(state.arrays, "optimizer")
        numbers = {name.partition("/")[0] for name in memory}
        restored = {int(number): as_tensors(part_of(memory, number)) for number in numbers}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": restored})

    @property
    def _modules(self) -> dict[str, nn.Module]:
        average = {"average": self.average.model} if self.average is not None else {}
        return {"model": self.model, **self.others, **average}


def as_arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Copies of the tensors as they are now."""
    return {name: np.array(value.detach().cpu().numpy(), order="C") for name, value in tensors.items()}


def as_tensors(arrays: Arrays) -> dict[str, Tensor]:
    """Copies of the arrays as tensors on the CPU."""
    return {name: torch.tensor(values) for name, values in arrays.items()}
