"""Where a run writes, checked before any step starts."""

import os
from pathlib import Path

from cellvit.errors import SettingsError


def writable_folder(results: Path) -> Path:
    """The output folder, or the one in which it will be made; whether it can be written is known before any step finds out.

    Raises:
        SettingsError: There is a file or a link to nothing in its place, or the folder is not writable.
    """
    existing = results.absolute()
    while not existing.exists():
        if existing.is_symlink():
            raise SettingsError(
                f"results: expected a folder, found a link to nothing: {existing} -> {existing.readlink()}. "
                "Fix: make the folder to which it leads, or set results to another folder"
            )
        existing = existing.parent
    if not existing.is_dir():
        raise SettingsError(f"results: expected a folder, found a file: {existing}. Fix: set results to another folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise SettingsError(
            f"results: expected a folder in which this user may write, found {existing} without that permission. "
            "Fix: change the permission, or set results to another folder"
        )
    return existing
