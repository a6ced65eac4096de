"""GPUs of this machine as ``nvidia-smi -L`` lists them, narrowed to those that the user lets CUDA see."""

import logging
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cellvit.errors import SettingsError

log = logging.getLogger(__name__)

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"

_ANSWER_S: Final = 120
"""Patience with nvidia-smi: it wakes sleeping devices, a few seconds each."""

_CARD: Final = re.compile(r"GPU (?P<index>\d+): (?P<model>.+) \(UUID: (?P<uuid>[\w/-]+)\)")
_PART: Final = re.compile(r"\s+MIG (?P<profile>\S+)\s+Device\s+\d+: \(UUID: (?P<uuid>[\w/-]+)\)")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A device that a process can have for itself: a card, or one MIG part of a card.

    Attributes:
        uuid: As nvidia-smi prints it (``GPU-...``, ``MIG-...``); names the device in any order of counting.
        index: The card's number, counted by nvidia-smi (in the order of the PCI bus).
        card: UUID of the card; that of the device itself where the card is whole.
        model: Name of the card.
        profile: Size of the MIG part (``3g.20gb``); empty for a whole card.
    """

    uuid: str
    index: int
    card: str
    model: str
    profile: str = ""

    def __str__(self) -> str:
        part = f" MIG {self.profile}" if self.profile else ""
        return f"{self.index} {self.model}{part} {self.uuid}"


def listed_gpus(devices: Path = Path("/dev")) -> tuple[Gpu, ...]:
    """Devices in the order of nvidia-smi; none where it is not on PATH or lists none, and the log says where that is odd."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        if any(devices.glob("nvidia[0-9]*")):
            log.warning("nvidia-smi is not on PATH: GPUs cannot be told apart, and steps are not given one each")
        return ()
    try:
        done = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("nvidia-smi does not answer: steps are not given a GPU each error=%s", error)
        return ()
    if done.returncode:  # a damaged card, say, beside others that can be used
        log.warning("nvidia-smi -L fails code=%d error=%s", done.returncode, done.stderr.strip())
    return parsed(done.stdout)


def parsed(text: str) -> tuple[Gpu, ...]:
    """Devices of a listing; the parts of a divided card stand for it. Lines that are no device are logged.

    Examples:
        >>> for gpu in parsed('''GPU 0: NVIDIA T4 (UUID: GPU-aa)
        ... GPU 1: NVIDIA A30 (UUID: GPU-bb)
        ...   MIG 2g.12gb     Device  0: (UUID: MIG-cc)
        ... '''):
        ...     print(gpu)
        0 NVIDIA T4 GPU-aa
        1 NVIDIA A30 MIG 2g.12gb MIG-cc
    """
    found: list[Gpu] = []
    for line in text.splitlines():
        if card := _CARD.fullmatch(line):
            found.append(Gpu(card["uuid"], int(card["index"]), card["uuid"], card["model"]))
        elif (part := _PART.fullmatch(line)) and found:
            whole = found[-1]
            found.append(Gpu(part["uuid"], whole.index, whole.card, whole.model, part["profile"]))
        elif line.strip():
            log.warning("nvidia-smi -L says what is no device line=%r", line)
    divided = {gpu.card for gpu in found if gpu.profile}
    return tuple(gpu for gpu in found if gpu.profile or gpu.card not in divided)


def visible_gpus(gpus: Sequence[Gpu], environment: Mapping[str, str]) -> tuple[Gpu, ...]:
    """The devices that CUDA_VISIBLE_DEVICES names, in its order; all where it is not set, none where it is empty or -1.

    As CUDA reads it: numbers, UUIDs or the beginnings of UUIDs, up to the first -1.

    Raises:
        SettingsError: A name is no device's, or a number could be another device's in CUDA's count.
    """
    wanted = environment.get(VISIBLE)
    if wanted is None or not gpus:
        return tuple(gpus)
    found: list[Gpu] = []
    for name in map(str.strip, wanted.split(",")):
        if not name or name.startswith("-") or name == "NoDevFiles":  # the last is SLURM's word for none
            break
        if name.isdecimal():
            _check_count(name, gpus, environment)
        named = [gpu for gpu in gpus if _is_named(gpu, name)]
        if not named:
            listed = "\n".join(f"  {gpu}" for gpu in gpus)
            raise SettingsError(
                f"{VISIBLE}={wanted}: no device is named {name!r}. nvidia-smi -L lists:\n{listed}\n"
                f"Name some of these by number or UUID, or unset {VISIBLE}."
            )
        found += named
    return tuple(dict.fromkeys(found))


def _is_named(gpu: Gpu, name: str) -> bool:
    if name.isdecimal():
        return gpu.index == int(name)
    return name.startswith(("GPU-", "MIG-")) and (gpu.uuid.startswith(name) or gpu.card.startswith(name))


def _check_count(name: str, gpus: Sequence[Gpu], environment: Mapping[str, str]) -> None:
    """CUDA counts the fastest first unless told otherwise, nvidia-smi along the bus: the same only for equal cards."""
    models = {gpu.model for gpu in gpus}
    if len(models) == 1 or environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        return
    listed = "\n".join(f"  {gpu}" for gpu in gpus)
    raise SettingsError(
        f"{VISIBLE}={environment[VISIBLE]}: the cards differ, so {name} is one device to CUDA (fastest first) and can be "
        f"another to nvidia-smi, which lists:\n{listed}\n"
        "Set CUDA_DEVICE_ORDER=PCI_BUS_ID to count as nvidia-smi does, or name devices by UUID."
    )
