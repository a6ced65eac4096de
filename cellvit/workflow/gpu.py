"""One GPU for each process: assign a free one, and say which process holds which. This module does not load torch.

Snakemake counts GPUs but does not assign them. So each step locks one device, with flock on one file per device, and the
kernel releases the lock when the process ends, for whatever reason.
"""

import fcntl
import itertools
import logging
import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from io import FileIO
from pathlib import Path
from typing import Final, NamedTuple

from cellvit.errors import SettingsError
from cellvit.formats.locks import NO_LOCKS

log = logging.getLogger(__name__)

_SAFELY: Final = os.O_NOFOLLOW | os.O_NONBLOCK  # other users may put a link or a pipe there
_CARD: Final = re.compile(r"^GPU (\d+): (.+) \(UUID: ([\w/-]+)\)((?:\n +MIG .+)*)", re.MULTILINE)
_PART: Final = re.compile(r"(MIG \S+) +Device +\d+: \(UUID: ([\w/-]+)\)")


_SMALL_SHARE: Final = 0.5
"""Cards with less than this share of the memory of the largest one are left alone unless CUDA_VISIBLE_DEVICES names them: such
as a card for the display beside one for computing (decision)."""

_OLDEST: Final = 7.5
"""Compute capability from which the builds of torch for CUDA 13 have kernels. Older cards beside such a card are left alone: a
second step would take one, and compute on the CPU."""


_ANSWER_S: Final = 60
"""Time that nvidia-smi has: it wakes up sleeping devices, which takes some seconds each. With a broken driver it may never end."""

_NO_PROGRAM: Final = 127
"""Exit code of a program that is not installed, as shells say it."""


class Gpu(NamedTuple):
    """A device that one process can have for itself: a card, or one MIG part of a card."""

    number: str  # of the card, as nvidia-smi counts
    model: str
    card: str  # UUID of the card
    uuid: str  # UUID of the device; not that of the card for a MIG part

    def __str__(self) -> str:
        return f"{self.number} {self.model} {self.uuid}"


class Answer(NamedTuple):
    """What nvidia-smi answered: its standard output, what went wrong, and its exit code."""

    text: str
    fault: str
    code: int


class _Card(NamedTuple):
    """What nvidia-smi says of a card."""

    total_mb: float
    free_mb: float
    capability: float
    divided: bool  # in MIG mode, in which only its parts compute


def assign_gpu(step: str) -> None:
    """Wait for a GPU that no other process holds, hold it until this process ends, and make it the only one for CUDA.

    Call this before CUDA starts. It changes nothing where a scheduler assigns the devices or no device is allowed.

    Raises:
        SettingsError: CUDA_VISIBLE_DEVICES names an unknown device, or the folder of the locks cannot be used.
    """
    if not (folder := lock_folder()) or not (gpus := allowed_gpus()):
        log.info("no GPU is locked CUDA_VISIBLE_DEVICES=%s", os.environ.get("CUDA_VISIBLE_DEVICES"))
        return
    try:
        gpu = _locked_gpu(gpus, folder, step)
    except OSError as error:
        if error.errno in NO_LOCKS:
            log.warning("%s: the file system does not support locks, so several steps may use one GPU", folder)
            return
        raise SettingsError(
            f"{folder}: expected a local folder in which all users can lock files (mode 1777), found: {error}. "
            "Fix: repair or remove it, or name the absolute path of another folder in CELLVIT_GPU_LOCKS."
        ) from error
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu.uuid
    log.info("this step has a GPU for itself gpu=%s", gpu)


def lock_folder() -> Path | None:
    """Folder of the locks, the same for all users; None where a scheduler assigns the devices, as SLURM does.

    SLURM assigns devices to a job that asks for them (--gres, --gpus). Where it has several, the steps of a Snakemake inside
    of this job share them out; where it assigns none, all jobs of the node see all cards and need the locks.
    """
    default, job = "/tmp/cellvit-gpus", os.environ.get("SLURM_JOB_ID")  # TMPDIR can differ between users
    assigned = os.environ.get("CUDA_VISIBLE_DEVICES")
    if job is not None and assigned is not None:
        default = f"{default}-job{job}" if "," in assigned else "none"
    named = os.environ.get("CELLVIT_GPU_LOCKS") or default
    return None if named == "none" else Path(named)


def allowed_gpus() -> tuple[Gpu, ...]:
    """The devices that nvidia-smi lists and CUDA_VISIBLE_DEVICES allows, in the order of that variable.

    It names them as for CUDA: number, UUID or start of a UUID, up to the first -1. A divided card means all its parts.
    Without it, the card with most free memory comes first, and old or small cards beside better ones are left alone.
    """
    gpus, wanted = _listed_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None or not gpus:
        return _preferred(gpus)
    allowed: list[Gpu] = []
    for name in map(str.strip, wanted.split(",")):
        if name in {"", "-1", "NoDevFiles"}:  # SLURM sets the last one
            break
        named = [gpu for gpu in gpus if name == gpu.number or gpu.uuid.startswith(name) or gpu.card.startswith(name)]
        if not named:
            listed = "\n  ".join(map(str, gpus))
            raise SettingsError(
                f"CUDA_VISIBLE_DEVICES={wanted}: no device is named {name!r}. nvidia-smi lists:\n  {listed}\n"
                "Fix: name some of these by number or UUID, or unset CUDA_VISIBLE_DEVICES."
            )
        allowed += named
    return tuple(dict.fromkeys(allowed))


def usage(gpus: Sequence[Gpu], folder: Path) -> list[str]:
    """One line per device: free, or the process and the step that hold it."""
    return [f"{gpu}: {_holder(_lock_path(gpu, folder))}" for gpu in gpus]


def nvidia_smi(*arguments: str) -> Answer:
    """What nvidia-smi answers; a code other than 0, and why, where it is missing, fails or does not end."""
    try:
        done = subprocess.run(
            ["nvidia-smi", *arguments], capture_output=True, text=True, errors="replace", timeout=_ANSWER_S, check=False
        )
    except FileNotFoundError:
        return Answer("", "", _NO_PROGRAM)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Answer("", str(error), 1)
    return Answer(
        done.stdout, " ".join(f"{done.stdout} {done.stderr}".split()) if done.returncode else "", done.returncode
    )


def _listed_gpus() -> tuple[Gpu, ...]:
    answer = nvidia_smi("-L")
    if answer.fault:  # for example because of one damaged card beside others that work
        log.warning("nvidia-smi -L failed code=%d output=%s", answer.code, answer.fault)
    gpus: list[Gpu] = []
    for number, model, card, parts in _CARD.findall(answer.text):
        divided = [Gpu(number, f"{model} {size}", card, uuid) for size, uuid in _PART.findall(parts)]
        gpus += divided or [Gpu(number, model, card, card)]
    return tuple(gpus)


def _preferred(gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """The cards that are worth computing on, best first; in their order where nvidia-smi does not know their memory."""
    cards = _cards() if gpus else {}
    unknown = _Card(max((card.total_mb for card in cards.values()), default=0.0), 0.0, _OLDEST, divided=False)
    found = {gpu: cards.get(gpu.card, unknown) for gpu in gpus}
    chosen = _unless_all(gpus, lambda gpu: found[gpu].capability < _OLDEST, "it is too old for some builds of torch")
    is_empty = "it is in MIG mode and has no part that computes"
    chosen = _unless_all(chosen, lambda gpu: gpu.uuid == gpu.card and found[gpu].divided, is_empty)
    least = _SMALL_SHARE * max((found[gpu].total_mb for gpu in chosen), default=0.0)
    chosen = _unless_all(chosen, lambda gpu: found[gpu].total_mb < least, "it has little memory")
    return tuple(sorted(chosen, key=lambda gpu: -found[gpu].free_mb))


def _unless_all(gpus: Sequence[Gpu], is_poor: Callable[[Gpu], bool], reason: str) -> Sequence[Gpu]:
    """The devices without poor ones, which the log names; all where none is better."""
    better = [gpu for gpu in gpus if not is_poor(gpu)] or gpus
    for gpu in set(gpus) - set(better):
        log.info("left alone, because %s; CUDA_VISIBLE_DEVICES may name it gpu=%s", reason, gpu)
    return better


def _cards() -> dict[str, _Card]:
    """Memory and compute capability of every card by its UUID, as far as nvidia-smi knows them."""
    answer = nvidia_smi(
        "--query-gpu=uuid,memory.total,memory.free,compute_cap,mig.mode.current", "--format=csv,noheader,nounits"
    )
    cards = {}
    for line in answer.text.splitlines():
        with suppress(ValueError):  # a message; "[N/A]" where a card does not say; another number of values
            uuid, total, free, capability, mig = map(str.strip, line.split(","))
            cards[uuid] = _Card(float(total), float(free), float(capability), mig == "Enabled")
    return cards


def _locked_gpu(gpus: Sequence[Gpu], folder: Path, step: str) -> Gpu:
    """The first device that this process can lock."""
    looks = itertools.count()
    while not (free := next((gpu for gpu in gpus if _try_lock(_lock_path(gpu, folder), step)), None)):
        if next(looks) % 300 == 0:  # at once, then every five minutes
            log.info("every GPU is held, waiting for a free one: %s", "; ".join(usage(gpus, folder)))
        time.sleep(1)
    return free


def _lock_path(gpu: Gpu, folder: Path) -> Path:
    return folder / gpu.uuid.replace("/", "_")  # older drivers name MIG parts with slashes


def _try_lock(path: Path, step: str) -> bool:
    """True where this process holds the lock from now on, until it ends; False where another process holds it."""
    _create_for_all_users(path)
    with ExitStack() as unless_held, suppress(BlockingIOError):
        lock = unless_held.enter_context(FileIO(os.open(path, os.O_RDWR | _SAFELY), "r+"))
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        links = os.fstat(lock.fileno()).st_nlink
        if links > 1 or path.is_fifo():
            raise OSError(f"{path.name} is a hard link or a pipe")
        if links:  # none where it was deleted meanwhile, so that others would lock a new file
            lock.truncate()
            lock.write(f"pid {os.getpid()}, {step}, since {time.strftime('%Y-%m-%d %H:%M:%S')}".encode())
            # A forked worker shares the lock and could outlive this process, so it closes its copy of the file. A program
            # that is executed gets none (PEP 446). This registration also keeps the file open in this process.
            os.register_at_fork(after_in_child=lock.close)
            unless_held.pop_all()
            return True
    return False


def _create_for_all_users(path: Path) -> None:
    if path.parent.is_symlink() or not path.is_absolute():
        raise OSError("a relative path or a symbolic link")
    umask = os.umask(0)
    try:
        with suppress(FileExistsError):
            path.parent.mkdir(0o1777)  # as /tmp: no user can delete the files of others
        with suppress(FileExistsError):  # a separate step: Linux can refuse to open files of other users with O_CREAT
            path.touch(0o666, exist_ok=False)
    finally:
        os.umask(umask)


def _holder(path: Path) -> str:
    """What the lock file says about the process that holds it; "free" where nobody does."""
    with suppress(OSError), FileIO(os.open(path, os.O_RDONLY | _SAFELY)) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return "held by " + re.sub(r"[^ -~]", "?", lock.read(200).decode("ascii", "replace"))
    return "free"
