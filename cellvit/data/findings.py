"""What the checks of a data set found: each finding warns or stops the run."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cellvit.errors import IntegrityError

log = logging.getLogger(__name__)

SHOWN: Final = 10
"""Images that a message names at most; a finding has all of them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a data set that is wrong, or looks so.

    Attributes:
        kind: Name of the check (docs/checks.md lists them).
        message: What was expected and found, and what to do, in sentences.
        places: Names of the images or tiles that it is about, the worst first.
        stops: True if no run may use the data as it is.
    """

    kind: str
    message: str
    places: tuple[str, ...]
    stops: bool

    def __str__(self) -> str:
        more = f" and {len(self.places) - SHOWN} more" if len(self.places) > SHOWN else ""
        where = f" In: {', '.join(self.places[:SHOWN])}{more}." if self.places else ""
        return f"{self.kind}: {self.message}{where}"


def settle(where: str, findings: Sequence[Finding], *, accepted: Sequence[str] = ()) -> None:
    """Log findings that warn, and refuse the data if one of them stops.

    Args:
        where: The file or folder that was checked.
        accepted: Kinds of findings that a person has looked at; they warn and do not stop.

    Raises:
        IntegrityError: At least one finding stops; the message has all of these.
    """
    for finding in findings:
        if not finding.stops or finding.kind in accepted:
            log.warning("%s: %s", where, finding)
    stopping = [f"  {finding}\n" for finding in findings if finding.stops and finding.kind not in accepted]
    if stopping:
        raise IntegrityError(
            f"{where}: values computed from this data would be wrong.\n{''.join(stopping)}"
            "docs/checks.md says what each check does and what to do. If you have looked at the data and they are right: "
            "gates.integrity.accepted_findings."
        )
