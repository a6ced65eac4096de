"""One line of `cellvit doctor`."""

from dataclasses import dataclass
from typing import Final, Literal

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
        return f"{self.state:6}{self.topic:9}" + text.replace("\n", f"\n{_INDENT}")
