"""One line of `cellvit doctor`."""

from dataclasses import dataclass
from textwrap import wrap
from typing import Final, Literal

from cellvit.workflow.ending import COLUMNS

_INDENT: Final = " " * 15


@dataclass(frozen=True, slots=True)
class Check:
    """What was checked, what was found, and how to fix it; a run would stop at a fault."""

    topic: str
    state: Literal["ok", "note", "fault"]
    found: str
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.found}\nFix: {self.fix}" if self.fix else self.found
        lines = [part for line in text.splitlines() for part in _wrapped(line)]
        return f"{self.state:6}{self.topic:9}" + f"\n{_INDENT}".join(lines)


def _wrapped(line: str) -> list[str]:
    """A line in parts that fit; paths and addresses stay whole."""
    return wrap(line, COLUMNS - len(_INDENT), break_long_words=False, break_on_hyphens=False) or [""]
