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
from cellvit.inference.lanes import shared_out
from cellvit.inference.parallel import WORTH_A_POOL, workers
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

    def images(self, requests: Sequence[Request], folder_of: Callable[[Request], Path]) -> dict[str, str]:
        """Predict every image that is not finished, and return what is wrong with those that failed, by their path.

        Raises:
            CellvitError: The models cannot be used.
        """
        check_together(self.bundles)
        failed: dict[str, str] = {}
        with workers(self.threads, WORTH_A_POOL) as pool:  # its processes start when the first window is decoded
            for request in requests:
                try:
                    if (key := self._unfinished(request, folder_of(request))) is None:
                        continue
                except _FAULTS as error:
                    failed[str(request.path)] = _failed(request, error)
                    continue
                several = len(requests) > 1
                machine = Machine(ensemble=self.ensemble, pool=pool, lanes=self.lanes, always_parallel=several)
                try:
                    predict_image(request, machine, folder_of(request), key=key)
                except _FAULTS as error:
                    failed[str(request.path)] = _failed(request, error)
        return failed

    def _unfinished(self, request: Request, folder: Path) -> str | None:
        """Key of a request; None if the folder has its finished prediction."""
        key = request_key(request, self.bundles)
        if self.force or not is_finished(folder, key):
            if self.force:
                shutil.rmtree(folder / WORK, ignore_errors=True)
            return key
        shutil.rmtree(folder / WORK, ignore_errors=True)  # of a prediction that was killed at its very end
        log.info("%s: finished already, skipped; --force predicts it again", request.name)
        return None


def _failed(request: Request, error: BaseException) -> str:
    """Log why an image failed, and return it."""
    reason = failure_of(error).message.removeprefix("error: ")
    log.error("%s: failed: %s", request.name, reason)
    return reason
