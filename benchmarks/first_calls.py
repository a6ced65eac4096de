"""Whether the first call of a vector function, by several threads at once, gives the same bits in every process.

    python benchmarks/first_calls.py [--processes 1000] [--threads 2] [--busy 2]

MKL's vector functions look for their code on their first call. Each process here (forked, so that none has called one) draws
what a random initialisation draws, with several threads, and says its hash: as torch does it, and after
`settle_vector_math`. More than one result in the first column is the fault; there must be one in the second.
"""

import argparse
import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import torch

from cellvit.models.device import settle_vector_math

FUNCTIONS = ("erfinv", "sqrt", "exp", "log", "tanh", "erf")
SIZE = 49_152
"""Weights of a small layer: enough that torch shares them among threads."""


def main() -> None:
    """Print the number of processes by result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=1000, help="for each function and way")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--busy", type=int, default=2, help="other processes that keep the cores busy")
    args = parser.parse_args()
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(args.busy)]
    try:
        print(f"{'function':10}{'as torch does it':40}after settle_vector_math")
        for name in FUNCTIONS:
            cold, settled = (results(name, args, before) for before in (None, settle_vector_math))
            print(f"{name:10}{cold!s:40}{settled}", flush=True)
    finally:
        for other in others:
            other.kill()


def results(name: str, args: argparse.Namespace, before: Callable[[], None] | None) -> list[int]:
    """Processes by result, most first."""
    found = Counter(in_a_process(name, args.threads, before) for _ in range(args.processes))
    return sorted(found.values(), reverse=True)


def in_a_process(name: str, threads: int, before: Callable[[], None] | None) -> bytes:
    """Hash of the function of fixed values, computed by a child of this process."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        torch.set_num_threads(threads)
        if before is not None:
            before()
        values = getattr(torch, name)(torch.linspace(0.01, 0.99, SIZE))
        os.write(writing, hashlib.sha256(values.numpy().tobytes()).digest())
        os._exit(0)
    os.close(writing)
    said = os.read(reading, 32)
    os.close(reading)
    os.wait()
    return said


if __name__ == "__main__":
    main()
