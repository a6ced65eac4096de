"""Writing a file of the output: whole or not at all, and a full disk is an error that names the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cellvit.errors import MissingInputError
from cellvit.formats.atomic import replacing


@contextmanager
def writing_to(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which is renamed on success and removed on failure.

    Raises:
        MissingInputError: The system cannot write the file, as on a full disk.
    """
    try:
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise MissingInputError(
            f"{path}: expected space and permission to write the file, found: {error.strerror or error}. "
            "Fix: free some space, or choose a folder on another disk, and start the prediction again"
        ) from error
