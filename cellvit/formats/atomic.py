"""Files that are written whole or not at all."""

import glob
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

_TEMPORARY: Final = ".{name}.{writer}.part"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it there on success, remove it on failure.

    Raises:
        OSError: Something could not be written, as on a full disk; it names `path` and not the temporary path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(_TEMPORARY.format(name=path.name, writer=os.getpid()))
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno is None or error.filename not in {None, str(temporary)}:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error  # a full disk does not name the file
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_together(first: Path, *others: Path) -> Iterator[tuple[Path, ...]]:
    """Yield a temporary path for each; all are renamed on success, and files of two writings never lie side by side.

    What an earlier writing left at `others` is removed before `first` is replaced, and they follow it: who is killed in
    between leaves some of them missing, and none that belongs to another `first`.
    """
    with ExitStack() as stack:
        following = [stack.enter_context(replacing(path)) for path in others]
        yield (stack.enter_context(replacing(first)), *following)
        for path in others:
            path.unlink(missing_ok=True)


def remove_unfinished(path: Path) -> None:
    """Remove what killed writers of `path` left; only for a caller that is the only writer of it."""
    for name in (path.name, f".{path.name}"):  # the second: of a writing to the temporary path of another one
        for temporary in path.parent.glob(_TEMPORARY.format(name=glob.escape(name), writer="*")):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
