"""SIGTERM as an exception, so that a step that is cancelled leaves nothing half-written."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

log = logging.getLogger(__name__)

_CODE: Final = 128 + signal.SIGTERM
"""Exit code of a program that SIGTERM ended, as shells report it."""


class _Stopped(SystemExit):
    """SIGTERM arrived."""


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Inside, SIGTERM raises SystemExit, so that blocks are left in order; a second one ends the process at once.

    For the main thread alone: no other may set what a signal does.
    """
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    except _Stopped:
        log.warning("stopped by SIGTERM")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise _Stopped(_CODE)
