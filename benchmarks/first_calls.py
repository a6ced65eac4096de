"""Whether the first call of a vector function, by several threads at the same time, gives the same bits in every process.

    python benchmarks/first_calls.py [--processes 1000] [--threads 2] [--busy 2]

MKL's vector functions select their implementation at their first call. Each process here is forked before any was called,
and calls one function with several threads: in one column as torch does it, in the other after `settle_vector_math`. The
columns show how many processes gave each result. Several numbers in the first column show the fault; the second column
must have one number.
"""

import argparse
import hashlib
import os
import subprocess
import sys
from collections import Counter

import torch

from cellvit.models.device import settle_vector_math

FUNCTIONS = ("erfinv", "sqrt", "exp", "log", "tanh", "erf")
SIZE = 49_152
"""Weights of a small layer, which is large enough that torch divides it among threads."""


def main() -> None:
    """Print the number of processes by result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=1000, help="processes for each function and column")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--busy", type=int, default=2, help="other processes that keep the cores busy")
    args = parser.parse_args()
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(args.busy)]
    try:
        print(f"{'function':10}{'as torch does it':40}after settle_vector_math")
        for name in FUNCTIONS:
            first, settled = (
                Counter(digest_in_a_process(name, args.threads, settle=settle) for _ in range(args.processes))
                for settle in (False, True)
            )
            print(
                f"{name:10}{sorted(first.values(), reverse=True)!s:40}{sorted(settled.values(), reverse=True)}",
                flush=True,
            )
    finally:
        for process in busy:
            process.kill()


def digest_in_a_process(name: str, threads: int, *, settle: bool) -> bytes:
    """Digest of the function of fixed values, computed by a child of this process."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        torch.set_num_threads(threads)
        if settle:
            settle_vector_math()
        values = getattr(torch, name)(torch.linspace(0.01, 0.99, SIZE))
        os.write(writing, hashlib.sha256(values.numpy().tobytes()).digest())
        os._exit(0)
    os.close(writing)
    digest = os.read(reading, 32)
    os.close(reading)
    os.wait()
    return digest


if __name__ == "__main__":
    main()
