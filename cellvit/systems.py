"""What Linux and macOS say differently: the processors that a process may use, and the memory that it took."""

import os
import resource
import sys


def usable_processors() -> int:
    """Number of processors that this process may use: of the machine where the system cannot bind a process to some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_bytes(who: int = resource.RUSAGE_SELF) -> int:
    """Largest memory of this process, or of its largest child that has ended (`resource.RUSAGE_CHILDREN`)."""
    unit = 1 if sys.platform == "darwin" else 1024  # macOS says bytes, Linux KiB
    return resource.getrusage(who).ru_maxrss * unit
