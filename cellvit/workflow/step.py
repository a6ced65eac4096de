"""Running one step of the graph: take its result from the cache, else compute it, measure it and add it to the cache.

The cache is asked before the module of the step is imported, since importing torch takes longer than reusing a result.
"""

import argparse
import importlib
import logging
import math
import os
import resource
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cellvit.errors import IntegrityError
from cellvit.formats.content import content_of
from cellvit.formats.digests import combined
from cellvit.formats.timing import Timing, write_timing
from cellvit.systems import peak_memory_bytes
from cellvit.workflow.arguments import Input, Output, Setting, Through, add_options, fields_of, option_kinds, parsed
from cellvit.workflow.cache import ResultCache
from cellvit.workflow.gpu import assign_gpu
from cellvit.workflow.machine import this_machine
from cellvit.workflow.verification import faults_of

log = logging.getLogger(__name__)

_TIMING: Final = "timing"


@dataclass(frozen=True, slots=True)
class CachedResult:
    """Where the result of a step is stored, and what it consists of."""

    cache: ResultCache
    key: str
    outputs: Mapping[str, Path]


def run_step(source: Path, given: Sequence[str], *, holds_gpu: bool) -> None:
    """Run the step of the module `source` with options of the command line, or reuse an earlier result.

    Args:
        holds_gpu: Wait for a GPU of its own, which this process then holds until it ends.
    """
    cached = _cached_result(source, given)
    if cached and cached.cache.restore(cached.key, cached.outputs):
        log.info("reused an earlier result step=%s key=%s", source.stem, cached.key)
        return
    log.info("step=%s host=%s pid=%d", source.stem, socket.gethostname(), os.getpid())
    step = importlib.import_module(f"cellvit.stages.{source.stem}")
    parser = argparse.ArgumentParser(prog=f"cellvit {source.stem}", description=step.__doc__)
    add_options(parser, step.Arguments)
    _add_common_options(parser)
    options = parser.parse_args(given)
    arguments = parsed(step.Arguments, options)
    if holds_gpu and getattr(arguments, "device", "cpu") in {"auto", "cuda"}:
        assign_gpu(source.stem)
    _check_stores(arguments, cached.cache if cached else None)
    started = time.monotonic()
    step.run(arguments)
    if options.timing:
        write_timing(options.timing, _timing(source.stem, options.timing, time.monotonic() - started))
    if cached:
        cached.cache.add(cached.key, cached.outputs)


def _check_stores(arguments: object, cache: ResultCache | None) -> None:
    """Every row of every store that the step reads against its digest, once for each state of a file.

    With a cache, all steps of a run check a store once; without one, each step checks it.

    Raises:
        IntegrityError: A store was changed after it was written.
    """
    for path in _stores_in(arguments):
        fault = cache.remembered_fault(path, _fault_of) if cache else _fault_of(path)
        if fault:
            raise IntegrityError(fault)


def _stores_in(arguments: object) -> Iterator[Path]:
    for field in fields_of(type(arguments)):
        value = getattr(arguments, field.name)
        if isinstance(field.option, Input | Through):
            for path in value if isinstance(value, tuple) else (value,):
                if isinstance(path, Path) and path.suffix == ".h5" and path.is_file():
                    yield path


def _fault_of(path: Path) -> str:
    return "\n".join(faults_of(path))


def _add_common_options(parser: argparse.ArgumentParser) -> None:
    every = parser.add_argument_group("every step")
    every.add_argument("--timing", type=Path, metavar="FILE", help="JSON to write: time and memory of the computation")
    every.add_argument(
        "--cache", nargs="?", default="", metavar="FOLDER", help="result cache; none without this option"
    )
    every.add_argument("--cache-gb", type=float, default=math.inf, metavar="GB", help="size limit of the cache")


def _cached_result(source: Path, given: Sequence[str]) -> CachedResult | None:
    """Key and outputs by the options as they are; None without a cache.

    The key is a digest of everything that decides the result: the step, its settings and code, and what its inputs say.

    Raises:
        MissingInputError: An input does not exist.
        ContractError: An input cannot be read.
    """
    kinds = option_kinds(source)
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    for name in kinds:
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, nargs="*", default=[])
    _add_common_options(parser)
    options, _ = parser.parse_known_args(given)
    outputs = {
        f"{name}{number or ''}": Path(path)
        for name, kind in kinds.items()
        if kind is Output
        for number, path in enumerate(getattr(options, name))
    }
    if not options.cache or not outputs or {"-h", "--help"} & set(given):
        return None
    if options.timing:
        outputs[_TIMING] = options.timing
    cache = ResultCache.beside(Path(options.cache), options.cache_gb * 1e9, next(iter(outputs.values())))
    if cache is None:
        return None
    settings = {name: getattr(options, name) for name, kind in kinds.items() if kind is Setting}
    inputs = {
        name: [content_of(Path(path), cache.remembered_sha256).digest for path in getattr(options, name)]
        for name, kind in kinds.items()
        if kind is Input
    }
    return CachedResult(cache, combined({"step": source.stem, "settings": settings, "inputs": inputs}), outputs)


def _timing(name: str, path: Path, seconds: float) -> Timing:
    job = path.with_suffix("")
    parts = job.parts[job.parts.index(name) + 1 :] if name in job.parts else (job.name,)
    torch = sys.modules.get("torch")
    used_gpu = torch is not None and torch.cuda.is_initialized()
    gpu_mb = float(sys.modules["torch"].cuda.max_memory_reserved() >> 20) if used_gpu else math.nan
    memory_mb = (peak_memory_bytes() + peak_memory_bytes(resource.RUSAGE_CHILDREN)) / (1 << 20)
    machine = this_machine()
    return Timing(step=name, job="/".join(parts), seconds=seconds, memory_mb=memory_mb, gpu_mb=gpu_mb, machine=machine)
