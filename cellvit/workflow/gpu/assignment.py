"""One GPU for each process that computes on one, as Snakemake counts GPUs and assigns none."""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cellvit.errors import SettingsError
from cellvit.workflow.gpu.listing import VISIBLE, Gpu, listed_gpus, visible_gpus
from cellvit.workflow.gpu.locks import holder_of, try_hold

log = logging.getLogger(__name__)

LOCKS: Final = "CELLVIT_GPU_LOCKS"
"""Names the folder of the lock files, or says `none` where a scheduler binds devices."""

_EVERYONES: Final = Path("/tmp/cellvit-gpus")
"""One for all users and runs of a machine, so not below TMPDIR, which can differ between them."""

_LOOK_S: Final = 1.0
"""Between two looks for a free device. The same for all who wait: with growing pauses, newcomers would win."""

_SAY_S: Final = 300.0
"""Between two lines of the log that say who holds the devices."""


def assign_gpu(step: str) -> None:
    """Wait for a GPU that no other process holds, hold it until this process ends, and let CUDA see that one alone.

    Call it before CUDA starts, best before torch is imported. Nothing is held or changed where a scheduler binds devices,
    where there is none, and where CUDA_VISIBLE_DEVICES allows none.
    """
    folder = lock_folder(os.environ)
    if folder is None:
        _log_bound(os.environ.get(VISIBLE, ""))
        return
    gpus = visible_gpus(listed_gpus(), os.environ)
    if gpus:
        gpu = held_gpu(gpus, folder, step)
        os.environ[VISIBLE] = gpu.uuid
        log.info("this step has a GPU for itself gpu=%s", gpu)


def _log_bound(devices: str) -> None:
    log.info("devices are left to the scheduler %s=%s", VISIBLE, devices)
    if "," in devices:
        log.warning("several devices, and a step uses the first. %s=%s gives each step its own", LOCKS, _EVERYONES)


def lock_folder(environment: Mapping[str, str]) -> Path | None:
    """Folder of the lock files; None where a scheduler binds devices: in a SLURM job, or where the setting says so.

    Examples:
        >>> lock_folder({"SLURM_JOB_ID": "7"}) is None
        True
        >>> lock_folder({"SLURM_JOB_ID": "7", "CELLVIT_GPU_LOCKS": "/tmp/of-this-job"})
        PosixPath('/tmp/of-this-job')
    """
    named = environment.get(LOCKS, "")
    if not named:
        return None if "SLURM_JOB_ID" in environment else _EVERYONES
    if named == "none":
        return None
    if not Path(named).is_absolute():
        raise SettingsError(
            f"{LOCKS}={named}: expected `none`, or the absolute path of a folder on a local disk. "
            f"Unset it to use {_EVERYONES}."
        )
    return Path(named)


def lock_name(gpu: Gpu) -> str:
    """Name of the device's lock file; older drivers have slashes in the UUIDs of MIG parts."""
    return gpu.uuid.replace("/", "_")


def held_gpu(gpus: Sequence[Gpu], folder: Path, step: str, *, say_every_s: float = _SAY_S) -> Gpu:
    """The first of `gpus` that nobody holds; from now on this process does, until it ends.

    Which one does not matter, as each is held by one process: jobs spread over all that are free.
    """
    said = -float("inf")
    while True:
        for gpu in gpus:
            if try_hold(folder, lock_name(gpu), step):
                return gpu
        if time.monotonic() - said >= say_every_s:
            log.info("every GPU is held, waiting for one %s", "; ".join(in_use(gpus, folder)))
            said = time.monotonic()
        time.sleep(_LOOK_S)


def in_use(gpus: Sequence[Gpu], folder: Path) -> list[str]:
    """A line a device: free, or who holds it."""
    holders = [holder_of(folder, lock_name(gpu)) for gpu in gpus]
    return [f"{gpu}: {f'held by {holder}' if holder else 'free'}" for gpu, holder in zip(gpus, holders, strict=True)]
