"""Training that stores its state after every epoch, resumes from there in the next run, and selects the best epoch."""

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cellvit.config.base import flattened
from cellvit.formats.checkpoints import Arrays, CheckpointHeader
from cellvit.formats.history import EpochRecord
from cellvit.formats.training_state import StateFile, TrainingState, joined, part_of
from cellvit.training.seeding import Stream

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SelectedModel:
    """Result of a training.

    Attributes:
        weights: State of the module after the selected epoch.
        record: The selected epoch.
        history: Every epoch.
        selection: How the epoch was selected, in words.
    """

    weights: Arrays
    record: EpochRecord
    history: tuple[EpochRecord, ...]
    selection: str


@dataclass(frozen=True, slots=True)
class Trainable:
    """Everything that changes from step to step.

    Attributes:
        model: The module that is trained.
        others: Further modules that learn, by name.
        generators: Random numbers of the order of the tiles and of their views.
        device: Where torch computes; its generator decides which units are dropped.
    """

    model: nn.Module
    others: Mapping[str, nn.Module]
    optimizer: torch.optim.Optimizer
    generators: Mapping[Stream, np.random.Generator]
    device: torch.device

    def stored_in(self, state: TrainingState) -> TrainingState:
        """The state with a copy of everything that the next step starts from."""
        parts = {name: as_arrays(module.state_dict()) for name, module in self._modules.items()}
        memory = self.optimizer.state_dict()["state"]
        parts["optimizer"] = joined({str(number): as_arrays(tensors) for number, tensors in memory.items()})
        random = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.device)
        parts["random"] = as_arrays(random)
        generators = {stream.name: dict(numbers.bit_generator.state) for stream, numbers in self.generators.items()}
        return replace(state, arrays=joined(parts), generators=generators)

    def restore(self, state: TrainingState) -> None:
        """Set everything to what `state` holds."""
        for name, module in self._modules.items():
            module.load_state_dict(as_tensors(part_of(state.arrays, name)), strict=True)
        memory = part_of(state.arrays, "optimizer")
        numbers = {name.partition("/")[0] for name in memory}
        restored = {int(number): as_tensors(part_of(memory, number)) for number in numbers}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": restored})
        random = as_tensors(part_of(state.arrays, "random"))
        torch.set_rng_state(random["cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(random["cuda"], self.device)
        for stream, generator in self.generators.items():
            generator.bit_generator.state = state.generators[stream.name]

    @property
    def _modules(self) -> dict[str, nn.Module]:
        return {"model": self.model, **self.others}


def train_to_end(
    trainable: Trainable, epochs_after: Callable[[int], Iterator[EpochRecord]], *, metric: str, states: StateFile | None
) -> SelectedModel:
    """Train all epochs that are still missing, and select the first one of the highest validation `metric`.

    An epoch in which the metric was not measured is never better; without any measurement, the last epoch is selected.

    Args:
        epochs_after: Trains the epochs after the given one, at least one in total; yields the record of each.
        states: Where the training resumes from, and where each epoch is stored; None stores nothing.
    """
    state = (states.read() if states is not None else None) or TrainingState()
    if states is not None and state.epoch:
        trainable.restore(state)
        log.info("resumed after epoch=%d state=%s", state.epoch, states.path)
    for record in epochs_after(state.epoch):
        best, state = _best(state, metric), replace(state, history=(*state.history, record))
        if math.isnan(best) or record.validate[metric] > best:  # NaN is never greater
            state = replace(state, selected=record.epoch, weights=as_arrays(trainable.model.state_dict()))
        if states is not None:
            states.write(trainable.stored_in(state))
    selection = f"best validation {metric}"
    if math.isnan(_best(state, metric)):
        selection = f"last epoch: {metric} is not defined on the validation tiles"
    log.info("selected epoch=%d of=%d selection=%r", state.selected, state.epoch, selection)
    return SelectedModel(state.weights, state.history[state.selected - 1], state.history, selection)


def made_by(header: CheckpointHeader, inputs: Sequence[Path], device: torch.device) -> dict[str, str]:
    """Everything that decides the weights of a training, by name.

    The number of threads counts on a CPU only, where it decides the order in which numbers are added.

    Args:
        header: What is known before training.
        inputs: Files in the order in which their tiles are read: the random order of the tiles starts from it.
    """
    return {
        "model": header.kind,
        "split": header.split,
        "family": header.family or "none",
        "folds": json.dumps(header.folds),
        "order of the inputs": ", ".join(path.stem for path in inputs),
        "code": header.code,
        "software": f"torch {torch.__version__}, numpy {np.__version__}",
        "device": device.type,
        "threads": str(torch.get_num_threads()) if device.type == "cpu" else "any",
        **{f"content of {name}": digest for name, digest in header.provenance.made_from.items()},
        **{name: json.dumps(value) for name, value in flattened(header.provenance.settings).items()},
    }


def as_arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Copies of the tensors as they are now."""
    return {name: np.array(value.detach().cpu().numpy(), order="C") for name, value in tensors.items()}


def as_tensors(arrays: Arrays) -> dict[str, Tensor]:
    """Copies of the arrays as tensors on the CPU."""
    return {name: torch.tensor(values) for name, values in arrays.items()}


def _best(state: TrainingState, metric: str) -> float:
    """The metric of the selected epoch; NaN if no epoch so far has it."""
    return state.history[state.selected - 1].validate[metric] if state.selected else math.nan
