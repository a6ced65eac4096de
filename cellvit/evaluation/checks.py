"""Results of integrity checks: each is logged, and one that failed stops the run."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from cellvit.errors import IntegrityError
from cellvit.formats.documents import Check

log = logging.getLogger(__name__)


class CheckResult(NamedTuple):
    """What a check expected and found, whether it passed, and the likely cause if it did not."""

    name: str
    expected: str
    found: str
    passed: bool
    cause: str = ""


def passed_checks(where: str, results: Sequence[CheckResult], *, fix: str) -> tuple[Check, ...]:
    """The checks, if all of them passed.

    Args:
        where: What was checked, as messages name it.

    Raises:
        IntegrityError: A check failed; each that failed is named with its likely cause.
    """
    for name, expected, found, passed, _ in results:
        log.info("check %s: %s expected=%s found=%s", "passed" if passed else "failed", name, expected, found)
    failed = [
        f"  {one.name}: expected {one.expected}, found {one.found}. Likely cause: {one.cause}\n"
        for one in results
        if not one.passed
    ]
    if failed:
        raise IntegrityError(
            f"{where}: {len(failed)} of {len(results)} checks failed; values computed from this would be wrong.\n"
            f"{''.join(failed)}Fix: {fix}"
        )
    return tuple(Check(name=one.name, expected=one.expected, found=one.found) for one in results)
