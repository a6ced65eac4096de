"""What computes a step: commit of the code, GPU, driver, versions. Nothing here loads torch or can fail a step."""

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

from cellvit.formats.timing import UNKNOWN, Machine

_PACKAGES: Final = ("torch", "timm", "numpy", "scipy", "scikit-image", "opencv-python-headless", "h5py", "pandas")
"""Packages whose version can change a value."""

_SECONDS: Final = 10.0
"""Longest wait for git and nvidia-smi, which hang on broken file systems and drivers."""


def this_machine() -> Machine:
    """The machine and the code of this process; torch is asked only if the step has used a GPU."""
    torch = sys.modules.get("torch")
    used_gpu = torch is not None and torch.cuda.is_initialized()
    return Machine(
        commit=commit_of(Path(__file__)),
        gpu=torch.cuda.get_device_name() if torch is not None and used_gpu else "none",
        driver=_output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").split("\n")[0] or UNKNOWN
        if used_gpu
        else "none",
        software={"python": platform.python_version(), **_versions()},
    )


def commit_of(source: Path) -> str:
    """Git commit of the repository that holds this file, with -dirty if files differ from it; "unknown" without one.

    A file that git does not track, as one that pip installed into a folder of another repository, has no commit.
    """
    git = ("git", "-C", str(source.parent))
    if not _output(*git, "ls-files", "--error-unmatch", source.name):
        return UNKNOWN
    return _output(*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") or UNKNOWN


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _output(*command: str) -> str:
    """What a program writes, stripped; empty if it is not there, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
