"""A training after a whole epoch, as it is kept to go on from."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cellvit.formats.atomic import remove_unfinished, replacing
from cellvit.formats.digests import differences
from cellvit.formats.history import EpochRecord
from cellvit.formats.lock import locked
from cellvit.formats.partial import PARTIAL
from cellvit.training.stopping import stopped_by_sigterm

Weights = dict[str, Tensor]
"""Tensors by name, copies on the CPU; a name may begin with that of the part that its tensor is of, and a slash."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Epochs so far, and the one whose weights are kept if no better one follows.

    Attributes:
        history: Every epoch; its length is the number of the last one.
        kept: Number of the kept epoch; 0 before the first.
        weights: State of the model after that epoch.
    """

    history: tuple[EpochRecord, ...] = ()
    kept: int = 0
    weights: Weights = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """Number of the last whole epoch."""
        return len(self.history)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What changes from step to step; with settings, data and code it decides every step that follows.

    The number of the step is no part of it: it is that of the epoch times the steps of one.

    Attributes:
        modules: Parameters and buffers, as ``module/name``.
        optimizer: What it remembers of each parameter, as ``number/name``.
        torch_random: State of torch's generator of each device in use, by device type.
        generators: State of numpy's generators by name, as `numpy.random.BitGenerator.state`.
    """

    modules: Weights
    optimizer: Weights
    torch_random: Weights
    generators: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class TrainingState:
    """All that a training needs to go on as if it had not been stopped."""

    progress: Progress
    snapshot: Snapshot


def joined(parts: Mapping[str, Weights]) -> Weights:
    """Tensors of several parts, as ``part/name``."""
    return {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def part_of(weights: Weights, part: str) -> Weights:
    """Tensors of one part, by their names in it."""
    start = f"{part}/"
    return {name.removeprefix(start): tensor for name, tensor in weights.items() if name.startswith(start)}


log = logging.getLogger(__name__)


_FORMAT: Final = "cellvit-training-state 1"


_NUMBERS, _SHA256 = "cellvit", "sha256"
"""Keys of the metadata: everything but tensors as JSON, and the hash of it and of the tensors."""


class StateFile:
    """Where a training keeps its state after each epoch.

    Args:
        fingerprint: What decides the training, by name; a state of another fingerprint is not gone on from.
    """

    def __init__(self, path: Path, fingerprint: Mapping[str, str]) -> None:
        self.path = path
        self._fingerprint = {"format": _FORMAT, **fingerprint}

    def write(self, state: TrainingState) -> None:
        """Put `state` in the place of the earlier one, whole or not at all."""
        progress, snapshot = state.progress, state.snapshot
        numbers = json.dumps(
            {
                "fingerprint": self._fingerprint,
                "history": [asdict(record) for record in progress.history],
                "kept": progress.kept,
                "generators": snapshot.generators,
            }
        )
        tensors = joined(
            {
                "kept": progress.weights,
                "modules": snapshot.modules,
                "optimizer": snapshot.optimizer,
                "torch": snapshot.torch_random,
            }
        )
        with replacing(self.path) as temporary:
            metadata = {_NUMBERS: numbers, _SHA256: _sha256(numbers, tensors)}
            temporary.write_bytes(save(tensors, metadata=metadata))

    def read(self) -> TrainingState | None:
        """The state of the last whole epoch; None where there is none that fits, and the log says why it does not."""
        if not self.path.exists():
            return None
        try:
            numbers, tensors = self._contents()
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            log.warning("begun anew, not resumed state=%s because it is damaged: %s", self.path, error)
            return None
        if differing := differences(numbers["fingerprint"], self._fingerprint):
            log.warning("begun anew, not resumed state=%s because %s", self.path, differing)
            return None
        history = tuple(EpochRecord(**record) for record in numbers["history"])
        return TrainingState(
            Progress(history, numbers["kept"], part_of(tensors, "kept")),
            Snapshot(
                modules=part_of(tensors, "modules"),
                optimizer=part_of(tensors, "optimizer"),
                torch_random=part_of(tensors, "torch"),
                generators=numbers["generators"],
            ),
        )

    def _contents(self) -> tuple[dict[str, Any], Weights]:
        with safe_open(self.path, framework="pt") as file:
            metadata = file.metadata() or {}
            # copies: what safetensors gives may be a map of the file, which the next epoch replaces
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  # not a dict
        if _sha256(metadata[_NUMBERS], tensors) != metadata[_SHA256]:
            raise ValueError("its content is not what its hash says")
        numbers: dict[str, Any] = json.loads(metadata[_NUMBERS])
        return numbers, tensors


@contextmanager
def resuming(checkpoint: Path, fingerprint: Mapping[str, str]) -> Iterator[StateFile]:
    """Yield the state of the training that writes `checkpoint`, and remove it when the block ends well.

    Write the outputs inside. Where the block does not end well, the state of the last epoch stays for the next run;
    SIGTERM ends it in order. Two runs at a time wait for each other.
    """
    path = checkpoint.parent / PARTIAL / f"{checkpoint.name}.state"
    path.parent.mkdir(parents=True, exist_ok=True)
    with stopped_by_sigterm(), locked(path.with_suffix(".lock")):
        remove_unfinished(path)
        try:
            yield StateFile(path, fingerprint)
        except BaseException:
            if path.exists():
                log.warning("not finished; the next run goes on from state=%s", path)
            raise
        path.unlink(missing_ok=True)


def _sha256(numbers: str, tensors: Weights) -> str:
    digest = hashlib.sha256(numbers.encode())
    for name in sorted(tensors):
        values = tensors[name].numpy()
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
