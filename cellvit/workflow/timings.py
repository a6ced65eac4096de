"""Times and memory of jobs: the benchmark files that Snakemake writes, and the GPU's part from the logs beside them."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cellvit.workflow.joblog import gpu_peak_mb
from cellvit.workflow.timing_records import JobTiming

TIMINGS: Final = "timings"
"""Folder of the benchmark files in the output folder, one folder a step."""

LOGS: Final = "logs"
"""Folder of the logs, likewise."""

_NOT_MEASURED: Final = frozenset({"", "-", "NA"})


def read_timings(folder: Path) -> tuple[JobTiming, ...]:
    """What each job took when it ran last, by step and job; nothing where there is no `folder`.

    Args:
        folder: Holds ``{step}/{job}.tsv``; the logs are ``{step}/{job}.log`` in ``logs`` beside it.
    """
    found = []
    for path in sorted(folder.rglob("*.tsv")):
        place = path.relative_to(folder).with_suffix("")
        gpu_mb = gpu_peak_mb(folder.parent / LOGS / f"{place}.log")
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                step, *job = place.parts
                found.append(JobTiming(step, "/".join(job), _number(row, "s"), _number(row, "max_rss"), gpu_mb))
    return tuple(found)


def _number(row: Mapping[str, str | None], column: str) -> float:
    text = row.get(column) or ""
    return math.nan if text in _NOT_MEASURED else float(text)
