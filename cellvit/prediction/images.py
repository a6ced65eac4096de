"""Several images, one after another: finished ones are skipped, and an image that fails does not stop the others."""

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import torch

from cellvit.config.settings import Device
from cellvit.errors import CellvitError
from cellvit.formats.bundle import Bundle
from cellvit.formats.locks import locked
from cellvit.inference.lanes import shared_out
from cellvit.inference.parallel import WORTH_A_POOL, Workers, workers
from cellvit.models.device import resolve_device
from cellvit.prediction.models import Ensemble, check_together, load_ensemble
from cellvit.prediction.predict import WORK, Machine, predict_image
from cellvit.prediction.request import Request, is_finished, request_key
from cellvit.workflow.failures import failure_of

log = logging.getLogger(__name__)

_FAULTS: Final = (CellvitError, OSError, torch.OutOfMemoryError)
"""What can be wrong with one image: the file, its area, the disk, the memory of the device."""


@dataclass(frozen=True)
class Prediction:
    """How images are predicted.

    Attributes:
        encoder_weights: File of the weights of the encoder; None for those that the bundles name.
        threads: Threads of torch on a CPU, and worker processes.
        force: Repeat finished predictions, from the start.
    """

    bundles: tuple[Bundle, ...]
    device: Device = "auto"
    encoder_weights: Path | None = None
    threads: int = 1
    force: bool = False

    @cached_property
    def ensemble(self) -> Ensemble:
        """The models, loaded when the first image needs them."""
        return load_ensemble(self.bundles, resolve_device(self.device), encoder_weights=self.encoder_weights)

    @cached_property
    def lanes(self) -> int:
        """Batches that are predicted at a time."""
        return shared_out(resolve_device(self.device), self.threads)

    def images(self, requests: Sequence[Request], folder_of: Callable[[Request], Path]) -> dict[str, Exception]:
        """Predict every image that is not finished, and return what is wrong with those that failed, by their path.

        Raises:
            CellvitError: The models cannot be used.
        """
        check_together(self.bundles)
        failed: dict[str, Exception] = {}
        with workers(self.threads, WORTH_A_POOL) as pool:  # its processes start when the first window is decoded
            for request in requests:
                try:
                    self._image(request, folder_of(request), pool, always_parallel=len(requests) > 1)
                except _FAULTS as error:
                    log.error("%s: failed: %s", request.name, reason_of(error))
                    failed[str(request.path)] = error
        return failed

    def _image(self, request: Request, folder: Path, pool: Workers, *, always_parallel: bool) -> None:
        """Predict an image that is not finished; meanwhile no other process can write its folder.

        Raises:
            BusyFolderError: Another process predicts into this folder.
        """
        key, work = request_key(request, self.bundles), folder / WORK
        lock = folder.resolve().with_name(f".{folder.resolve().name}.lock")  # the same one by whatever path
        if self._is_finished(folder, key) and not work.exists():
            log.info("%s: finished already, skipped; --force predicts it again", request.name)
            return
        with locked(lock, f"predicts {request.name}"):
            is_finished_now = self._is_finished(folder, key)
            if self.force or is_finished_now:  # what is left is of a prediction that was killed at its very end
                shutil.rmtree(work, ignore_errors=True)
            if not is_finished_now:
                ensemble, lanes = self.ensemble, self.lanes
                machine = Machine(ensemble=ensemble, pool=pool, lanes=lanes, always_parallel=always_parallel)
                predict_image(request, machine, folder, key=key)

    def _is_finished(self, folder: Path, key: str) -> bool:
        return not self.force and is_finished(folder, key)


def reason_of(error: Exception) -> str:
    """Why an image failed, in the words of the command line."""
    return failure_of(error).message.removeprefix("error: ")
