"""The last lines of a run, at most 12 of at most 100 columns: the page, a verdict, values and what to do next, or what failed."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Final

from cellvit.formats.bundle import BUNDLE

COLUMNS: Final = 100
"""Width of what a run prints."""

LINES: Final = 12
"""Lines that a run ends with; all else is in the page, in summary.txt and in the logs."""

_ERROR_LINES: Final = 5
_TAIL_BYTES: Final = 20_000
"""End of a log in which the error is looked for."""

_MODELS: Final = "Models:"

_LOGGED: Final = re.compile(r"\d\d:\d\d:\d\d (INFO|WARNING) ")
"""Begin of a line that a step logs while it computes."""

_KILLED: Final = (
    "The log has no error: something ended the step from outside. If nobody did, the memory or the time that the system "
    "or the scheduler grants did not suffice. Last line of the log:"
)

_ERROR: Final = "error: "
"""Begin of the message with which a step ends (cellvit/workflow/failures.py)."""


def success_lines(results: Path, *, since: float, n_steps: int, seconds: float) -> list[str]:
    """What a run ends with.

    Args:
        since: When the run started (seconds since the epoch). What is older was written by an earlier run, and is not shown.
    """
    lines = [
        f"Finished: {n_steps} step{'s' * (n_steps != 1)} in {duration(seconds)}",
        *_conclusion_lines(results, since=since),
    ]
    # The models are what users need least at once.
    return lines if len(lines) <= LINES else [line for line in lines if not line.startswith(_MODELS)]


def failure_lines(failed: Sequence[tuple[str, Path | None]], *, n_done: int, n_steps: int, seconds: float) -> list[str]:
    """What a run ends with that did not reach its end: the step, its log, its error, and how to resume.

    Args:
        failed: What each failed step does, and its log; empty if the run was stopped.
    """
    reason = f"{len(failed)} failed" if failed else "the run was stopped"
    lines = [f"NOT FINISHED: {n_done} of {n_steps} steps are done after {duration(seconds)}; {reason}."]
    for title, log in failed[:1]:
        lines += [f"Failed:   {title}", f"Log:      {log or 'none'}"]
        lines += [f"          {line}" for line in error_in(log)]
    lines += [f"Also:     {log or title}" for title, log in failed[1:3]]
    lines += [f"          and {len(failed) - 3} more"] if len(failed) > 3 else []
    fix = "follow the message above, then run" if failed else "run"
    return [*lines, f"Resume:   {fix} the same command again; what is done is not repeated."]


def error_in(log: Path | None) -> list[str]:
    """The last error message of a log, cut to five lines that include its fix; an empty list if the log does not exist."""
    try:
        text = log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace") if log else ""
    except OSError:
        return []
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    begins = [number for number, line in enumerate(lines) if line.startswith(_ERROR) or f": {_ERROR}" in line[:60]]
    if not begins and lines and _LOGGED.match(lines[-1]):
        return _wrapped([_KILLED, lines[-1]])
    return _wrapped(lines[begins[-1] :] if begins else lines[-1:])


def duration(seconds: float) -> str:
    """A duration in words, with no more digits than matter.

    Examples:
        >>> [duration(seconds) for seconds in (3.4, 200, 5400, 100_000, 1_000_000)]
        ['3 s', '3 min', '1.5 h', '28 h', '12 days']
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    if hours < 48:
        return f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h"
    return f"{hours / 24:.0f} days"


def _wrapped(lines: Iterable[str]) -> list[str]:
    found = [part for line in lines for part in wrap(line, COLUMNS - 24, break_on_hyphens=False)]
    if len(found) <= _ERROR_LINES:
        return found
    fix = [number for number, part in enumerate(found) if "Fix:" in part]
    end = found[fix[-1] :][: _ERROR_LINES - 2] if fix else []
    return [*found[: _ERROR_LINES - 1 - len(end)], "...", *end]


def _conclusion_lines(results: Path, *, since: float) -> list[str]:
    """Where the values, the page, the models and the nuclei of a run are, and the first paragraph of summary.txt."""
    summary, pages = results / "summary.txt", [results / "report/index.html", results / "report/final.html"]
    nuclei = results / "predictions/index.html"
    bundles = [path.parent for path in sorted(results.glob(f"bundles/[!.]*/{BUNDLE}")) if _is_new(path, since)]
    lines = [f"Page:     {path}" for path in pages if _is_new(path, since)]
    lines += [f"{_MODELS}   {path}" for path in bundles[:1]]
    lines += [f"Nuclei:   {nuclei}"] if _is_new(nuclei, since) else []
    if not _is_new(summary, since):
        return lines
    return [
        f"Values:   {summary}",
        *lines,
        *summary.read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines(),
    ]


def _is_new(path: Path, since: float) -> bool:
    return path.exists() and path.stat().st_mtime >= since
