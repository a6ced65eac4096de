"""Damage to the files of a finished run, and what `verify` says of it."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from workshop import Workshop

Damage = Callable[[Path], object]


@dataclass(frozen=True)
class Verdict:
    """What `verify` said."""

    code: int
    table: str
    message: str

    @property
    def states(self) -> dict[str, str]:
        """State of each product."""
        found = re.findall(r"^(ok|note|removed|open|broken) +(\S+)", self.table, re.MULTILINE)
        return {product: state for state, product in found}

    @property
    def broken(self) -> list[str]:
        """Products that are broken, in the order of the graph."""
        return [product for product, state in self.states.items() if state == "broken"]

    def told(self, field: str) -> str:
        """A line of the message about the first broken link."""
        found = re.search(rf"^ *{field}:? +(.*)$", self.message, re.MULTILINE)
        assert found, self.message
        return found[1]


def verify(workshop: Workshop, *options: str) -> Verdict:
    command = [sys.executable, "-m", "cellvit", "verify", "--configfile", "small.yaml", *options]
    done = subprocess.run(command, cwd=workshop.home, capture_output=True, text=True, check=False)
    return Verdict(done.returncode, done.stdout, done.stderr)


def mend(workshop: Workshop, verdict: Verdict) -> None:
    """Run the command that `verify` gave."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = verdict.told("Mend it")
    done = subprocess.run(
        ["bash", "-c", command], cwd=workshop.home, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, command + done.stderr[-4000:]


def keep_times(path: Path, status: os.stat_result) -> None:
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def flip_a_bit_of_a_token(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        row = file["tokens"][1]
        row.view(np.uint16)[0, 0, 0, 0, 0] ^= 1
        file["tokens"][1] = row


def flip_a_bit_on_the_disk(path: Path) -> None:
    with h5py.File(path) as file:
        place = file["tokens"].id.get_chunk_info(2).byte_offset
    with path.open("r+b") as disk:
        disk.seek(place)
        byte = disk.read(1)[0]
        disk.seek(place)
        disk.write(bytes([byte ^ 1]))


def flip_the_last_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def invert_a_pixel(path: Path) -> None:
    images = np.load(path)
    images[0, 5, 5] = 255 - images[0, 5, 5]
    np.save(path, images)


def replace(before: str, after: str) -> Damage:
    def edit(path: Path) -> None:
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after, 1))

    return edit


def take_the_place_of(other: str) -> Damage:
    return lambda path: path.write_bytes((path.parent / other).read_bytes())
