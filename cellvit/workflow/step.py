"""Running one step of the graph: take its result from the cache, else compute it, measure it and add it to the cache."""

import argparse
import logging
import math
import os
import resource
import socket
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from pydantic import BaseModel

from cellvit.formats.content import content_of
from cellvit.formats.digests import combined, sha256_of
from cellvit.formats.timing import Timing, write_timing
from cellvit.workflow.arguments import Field, Input, Output, Setting, add_options, fields_of, parsed
from cellvit.workflow.cache import ResultCache
from cellvit.workflow.gpu import assign_gpu

log = logging.getLogger(__name__)

_TIMING: Final = "timing"
_MIB: Final = 1024
"""KiB, the unit of getrusage on Linux, in a MiB."""


def add_step_options(parser: argparse.ArgumentParser, step: ModuleType) -> None:
    """Declare the options of a step, and those that all steps have."""
    add_options(parser, step.Arguments)
    every = parser.add_argument_group("every step")
    every.add_argument("--timing", type=Path, help="JSON to write: time and memory of the computation")
    every.add_argument("--cache", type=Path, metavar="FOLDER", help="result cache; none is used without this option")
    every.add_argument("--cache-gb", type=float, default=math.inf, metavar="GB", help="size limit of the cache")


def run_step(name: str, step: ModuleType, given: argparse.Namespace, *, holds_gpu: bool) -> None:
    """Run a step, or reuse an earlier result.

    Args:
        holds_gpu: Wait for a GPU of its own, which this process then holds until it ends.
    """
    arguments = parsed(step.Arguments, given)
    log.info("step=%s host=%s pid=%d", name, socket.gethostname(), os.getpid())
    outputs = {field.name: getattr(arguments, field.name) for field in _fields(arguments, Output)}
    if given.timing:
        outputs[_TIMING] = given.timing
    cache = _cache(given, outputs)
    key = result_key(name, arguments, cache) if cache else ""
    if cache and cache.restore(key, outputs):
        log.info("reused an earlier result key=%s", key)
        return
    if holds_gpu and getattr(arguments, "device", "cpu") in {"auto", "cuda"}:
        assign_gpu(name)
    started = time.monotonic()
    step.run(arguments)
    if given.timing:
        write_timing(given.timing, _timing(name, given.timing, time.monotonic() - started))
    if cache:
        cache.add(key, outputs)


def result_key(name: str, arguments: Any, cache: ResultCache | None = None) -> str:
    """Digest of everything that decides the result of a step: its name, its settings and code, and what its inputs say.

    Raises:
        MissingInputError: An input does not exist.
        ContractError: An input cannot be read.
    """
    bytes_sha256 = cache.remembered_sha256 if cache else sha256_of
    settings = {field.name: _plain(getattr(arguments, field.name)) for field in _fields(arguments, Setting)}
    inputs = {
        field.name: [content_of(path, bytes_sha256).digest for path in _paths(getattr(arguments, field.name))]
        for field in _fields(arguments, Input)
    }
    return combined({"step": name, "settings": settings, "inputs": inputs})


def _fields(arguments: Any, kind: type) -> list[Field]:
    return [field for field in fields_of(type(arguments)) if isinstance(field.option, kind)]


def _paths(value: Path | tuple[Path, ...] | None) -> tuple[Path, ...]:
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _cache(given: argparse.Namespace, outputs: dict[str, Path]) -> ResultCache | None:
    if not given.cache or not outputs:
        return None
    return ResultCache.beside(given.cache, given.cache_gb * 1e9, next(iter(outputs.values())))


def _timing(name: str, path: Path, seconds: float) -> Timing:
    job = path.with_suffix("")
    parts = job.parts[job.parts.index(name) + 1 :] if name in job.parts else (job.name,)
    usages = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return Timing(step=name, job="/".join(parts), seconds=seconds, memory_mb=sum(usages) / _MIB, gpu_mb=_gpu_peak_mb())


def _gpu_peak_mb() -> float:
    """Most memory that torch held on its GPU, in MiB; NaN where this process did not use CUDA."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return math.nan
    return float(torch.cuda.max_memory_reserved() >> 20)
