"""The state of a training that is not finished: safetensors with its numbers as JSON in the header; nothing is pickled.

It lies in ``.partial/`` beside the checkpoint, under no declared name: Snakemake deletes the outputs of a job that failed,
and this must survive it.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from cellvit.contracts.history import EpochRecord
from cellvit.contracts.training_state import Progress, Snapshot, TrainingState, Weights, joined, part_of
from cellvit.io.atomic import remove_unfinished, replacing
from cellvit.io.differences import differences
from cellvit.io.lock import locked
from cellvit.io.partial import PARTIAL
from cellvit.io.stopping import stopped_by_sigterm

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
