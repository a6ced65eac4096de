"""A training that is kept after every epoch, and goes on from there when it was stopped."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from cellvit.formats.history import EpochRecord
from cellvit.formats.training_state import Progress, Snapshot, StateFile, TrainingState, Weights, joined, part_of
from cellvit.training.seeding import Stream
from cellvit.training.selection import Kept, copies, kept_of, with_epoch

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Changing:
    """What changes from step to step, taken and put back as a `Snapshot`.

    Attributes:
        model: What is trained.
        others: Modules beside it that learn, by name.
        generators: What draws the order of the tiles, and whatever else is drawn.
        device: Where torch computes; its generator drops units.
    """

    model: nn.Module
    others: Mapping[str, nn.Module]
    optimizer: torch.optim.Optimizer
    generators: Mapping[Stream, np.random.Generator]
    device: torch.device

    def snapshot(self) -> Snapshot:
        """A copy of all of it."""
        remembered = self.optimizer.state_dict()["state"]
        return Snapshot(
            modules=joined({name: copies(module.state_dict()) for name, module in self._modules.items()}),
            optimizer=joined({str(number): copies(of) for number, of in remembered.items()}),
            torch_random=_torch_random(self.device),
            generators={
                stream.name: dict(generator.bit_generator.state) for stream, generator in self.generators.items()
            },
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Put everything back as it was in `snapshot`."""
        for name, module in self._modules.items():
            module.load_state_dict(part_of(snapshot.modules, name), strict=True)
        numbers = {name.partition("/")[0] for name in snapshot.optimizer}
        remembered = {int(number): part_of(snapshot.optimizer, number) for number in numbers}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": remembered})
        for stream, generator in self.generators.items():
            generator.bit_generator.state = snapshot.generators[stream.name]
        torch.set_rng_state(snapshot.torch_random["cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(snapshot.torch_random["cuda"], self.device)

    @property
    def _modules(self) -> dict[str, nn.Module]:
        return {"model": self.model, **self.others}


def train_to_end(
    changing: Changing,
    epochs_after: Callable[[int], Iterator[EpochRecord]],
    *,
    of: int,
    figure: str,
    states: StateFile | None,
) -> Kept:
    """Train up to epoch `of`, and keep the epoch of the highest validation `figure` (see `with_epoch`).

    Args:
        epochs_after: Trains the epochs after the given one; yields the record of each while `changing` is as it left it.
        states: Where the training goes on from and is kept after each epoch; None keeps it nowhere.
    """
    progress = _resumed(changing, of, states)
    for record in epochs_after(progress.epoch):
        progress = with_epoch(progress, record, changing.model, figure)
        if states is not None:
            states.write(TrainingState(progress, changing.snapshot()))
    return kept_of(progress, figure)


def _resumed(changing: Changing, of: int, states: StateFile | None) -> Progress:
    """Progress of an earlier run, with everything put back as that left it; none where there is no state that fits."""
    state = states.read() if states is not None else None
    if states is None or state is None:
        return Progress()
    changing.restore(state.snapshot)
    log.info("resumed epoch=%d of=%d state=%s", state.progress.epoch, of, states.path)
    return state.progress


def _torch_random(device: torch.device) -> Weights:
    found = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(device)
    return found
