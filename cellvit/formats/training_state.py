"""State of a training after a whole round of steps: one safetensors file, from which the next run of the training resumes."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from cellvit.formats.atomic import remove_unfinished, replacing
from cellvit.formats.content import HEADER_KEY
from cellvit.formats.digests import arrays_sha256, combined, differences
from cellvit.formats.headed import Arrays
from cellvit.formats.history import RoundRecord
from cellvit.formats.locks import locked
from cellvit.formats.writing import PARTIAL

log = logging.getLogger(__name__)

_VERSION: Final = "4"


@dataclass(frozen=True, slots=True)
class TrainingState:
    """A training after a whole round. Random numbers have no state: they follow from the seed and the number of the step.

    Attributes:
        history: Every round so far.
        selected: Step whose weights are used if no better ones follow; 0 before the first round.
        weights: Weights of the model at the selected step.
        arrays: What the next step starts from, as ``part/name``: parameters and buffers, their moving average, memory of
            the optimizer.
    """

    history: tuple[RoundRecord, ...] = ()
    selected: int = 0
    weights: Arrays = field(default_factory=dict)
    arrays: Arrays = field(default_factory=dict)

    @property
    def step(self) -> int:
        """Number of steps so far."""
        return self.history[-1].step if self.history else 0

    @property
    def selected_record(self) -> RoundRecord | None:
        """Record of the selected step; None before the first round."""
        return next((record for record in self.history if record.step == self.selected), None)


def joined(parts: Mapping[str, Arrays]) -> dict[str, np.ndarray]:
    """Arrays of several parts, as ``part/name``."""
    return {f"{part}/{name}": values for part, arrays in parts.items() for name, values in arrays.items()}


def part_of(arrays: Arrays, part: str) -> dict[str, np.ndarray]:
    """Arrays of one part, by their names in it."""
    start = f"{part}/"
    return {name.removeprefix(start): values for name, values in arrays.items() if name.startswith(start)}


@dataclass(frozen=True, slots=True)
class StateFile:
    """Where a training stores its state after each round.

    Attributes:
        made_by: Everything that decides the training, by name; a state of another training is not used.
    """

    path: Path
    made_by: Mapping[str, str]

    def write(self, state: TrainingState) -> None:
        """Replace the earlier state, whole or not at all."""
        arrays = joined({"weights": state.weights, "arrays": state.arrays})
        history = [asdict(record) for record in state.history]
        header = {"made_by": self._made_by, "history": history, "selected": state.selected}
        header["sha256"] = _sha256(header, arrays)
        with replacing(self.path) as temporary:
            temporary.write_bytes(save(arrays, metadata={HEADER_KEY: json.dumps(header)}))

    def read(self) -> TrainingState | None:
        """The state of the last whole round; None where no state of this training exists (the log says why)."""
        if not self.path.exists():
            return None
        try:
            header, arrays = self._contents()
            cause = differences(header["made_by"], self._made_by)
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            cause = f"the state is damaged ({error})"
        if cause:
            log.warning("starting from scratch: cannot resume because %s state=%s", cause, self.path)
            return None
        return TrainingState(
            history=tuple(RoundRecord(**record) for record in header["history"]),
            selected=header["selected"],
            weights=part_of(arrays, "weights"),
            arrays=part_of(arrays, "arrays"),
        )

    @property
    def _made_by(self) -> dict[str, str]:
        return {"version of the state": _VERSION, **self.made_by}

    def _contents(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        with safe_open(self.path, framework="numpy") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {})[HEADER_KEY])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
        if header.pop("sha256") != _sha256(header, arrays):
            raise ValueError("its content does not have the checksum that it records")
        return header, arrays


@contextmanager
def resuming(checkpoint: Path, history: Path, made_by: Mapping[str, str]) -> Iterator[StateFile]:
    """Yield the state file of the training that writes these outputs; write them inside the block.

    The state is removed when the block ends without error. After an error or a kill, the next run resumes from it.

    Raises:
        BusyFolderError: Another process trains this model.
    """
    path = checkpoint.parent / PARTIAL / f"{checkpoint.name}.state"
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock"), "trains this model"):
        for output in (path, checkpoint, history):
            remove_unfinished(output)
        yield StateFile(path, made_by)
        path.unlink(missing_ok=True)


def _sha256(header: Mapping[str, Any], arrays: Arrays) -> str:
    return combined({"header": header, "arrays": arrays_sha256(sorted(arrays.items()))})
