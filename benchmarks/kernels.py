"""Speed of targets, post-processing and metrics beside the programs of others, on the same tiles and one core.

    python benchmarks/kernels.py --hover-net ../hover_net --cellvit ../CellViT --pannuke-metrics ../PanNuke-metrics \\
        --cellseg-models ../cellseg_models.pytorch --out docs/benchmarks.md

Ours and theirs take turns, several times over; the table gives medians, and the ratio with its quartiles. Processor time is
counted, which on one thread is the time that passes on an idle machine, and wanders less on a busy one.
Before anything is timed the results are compared; where one differs without a known reason, the table says so and the
program ends with 1. Without checkouts it times ours alone. Their functions are run as they stand: see peers.py.
"""

import argparse
import logging
import math
import os
import platform
import sys
import timeit
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from time import process_time
from typing import Any, Final

# Libraries read these when they are first imported; one thread each, or the figures are not those of one core.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import cv2
import numpy as np
import peers
import scipy
import skimage
import torch
from kernel_checks import Verdict
from kernel_rows import BATCH, Contender, Rival, Task, batches_of, hv_of_batches, tasks, with_detection
from kernel_tables import MARKS, Row, Versus, Whole, table, whole_table, write_tables
from kernel_tiles import Case, drawn_cases, stored_cases

from cellvit.errors import CellvitError, SettingsError
from cellvit.metrics.intervals import RESAMPLES, bootstrap, bootstrap_organ_mean
from cellvit.metrics.pannuke import pooled_mpq_of_sums
from cellvit.taxonomy import NUCLEUS_CLASSES, ORGANS

LEAST_S: Final = 0.05
"""Shortest time that is measured; faster work is repeated until it takes as long."""

_LOG = logging.getLogger("kernels")


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        core = _pin(args.core)
        contest = tasks(_checkouts(args))
        cases = {n: _cases(args.tiles, n, args.tiles_each) for n in args.nuclei}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peers call what libraries have deprecated; it still runs
            rows = {n: [row for task in contest for row in _timed(task, cases[n], args.repeats)] for n in args.nuclei}
        whole = _whole_fold(next(iter(cases.values())), args.fold_tiles, args.hv_tiles)
    except CellvitError as error:
        parser.exit(2, f"{type(error).__name__}: {error}\n")
    parts = [
        _conditions(args, core),
        *(table(n, cases[n], rows[n]) for n in args.nuclei),
        whole_table(whole, args.nuclei[0]),
    ]
    text = "\n\n".join(parts) + "\n"
    print(text, end="")
    if args.out:
        write_tables(args.out, text)
        _LOG.info("tables written file=%s", args.out)
    wrong = [row for some in rows.values() for row in some if row.versus and not row.versus.verdict.holds]
    for row in wrong:
        _LOG.error("results differ task=%r ours=%r: %s", row.task, row.ours, row.versus)
    return 1 if wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, project in peers.PROJECTS.items():
        about = f"checkout of {project.url}, commit {project.commit[:8]}"
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, metavar="FOLDER", help=about)
    about = "tile stores of a run (results/tiles/fold1.h5); without them tiles are drawn"
    parser.add_argument("--tiles", type=Path, nargs="+", default=[], metavar="STORE", help=about)
    parser.add_argument("--nuclei", type=int, nargs="+", default=[25, 150], help="nuclei a tile, a table for each")
    parser.add_argument("--tiles-each", type=int, default=24, help="tiles for each number of nuclei")
    parser.add_argument("--repeats", type=int, default=7, help="turns that ours and theirs take")
    parser.add_argument("--core", type=int, help="core to run on (default: the first that is allowed)")
    parser.add_argument("--fold-tiles", type=int, default=2700, help="tiles whose metrics are timed as a whole")
    parser.add_argument("--hv-tiles", type=int, default=8000, help="tiles whose HV maps are timed as a whole")
    about = (
        f"file for the tables; where it has the lines {MARKS[0]} and {MARKS[1]}, only what is between them is replaced"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help=about)
    return parser


def _pin(core: int | None) -> int | None:
    """Stay on one core, which is returned; None where the system cannot."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if not hasattr(os, "sched_setaffinity"):
        _LOG.warning("this system pins no process to a core; figures may wander")
        return None
    allowed = sorted(os.sched_getaffinity(0))
    chosen = allowed[0] if core is None else core
    if chosen not in allowed:
        raise SettingsError(f"--core: expected one of {allowed}, found {chosen}. Choose one of them or leave it out.")
    os.sched_setaffinity(0, {chosen})
    return chosen


def _checkouts(args: argparse.Namespace) -> peers.Peers:
    return peers.Peers(
        args.hover_net and peers.load_hover_net(args.hover_net),
        args.cellvit and peers.load_cellvit(args.cellvit),
        args.pannuke_metrics and peers.load_pannuke_metrics(args.pannuke_metrics),
        args.cellseg_models and peers.load_cellseg_models(args.cellseg_models),
    )


def _cases(stores: Sequence[Path], n_nuclei: int, count: int) -> list[Case]:
    rng = np.random.default_rng(n_nuclei)
    return stored_cases(stores, n_nuclei, count, rng) if stores else drawn_cases(n_nuclei, count, rng)


def _timed(task: Task, cases: Sequence[Case], repeats: int) -> list[Row]:
    """Check every pair, then let everybody take turns."""
    everybody = [*task.ours, *(rival.contender for rival in task.rivals)]
    results, passes, prepared = {}, {}, {}
    for contender in everybody:
        prepared[contender] = contender.prepare(cases)
        start = process_time()
        results[contender] = list(contender.run(prepared[contender]))
        passes[contender] = math.ceil(LEAST_S / (process_time() - start))
    verdicts = {
        (our, rival): rival.check(cases, results[our], results[rival.contender])
        for our in task.ours
        for rival in task.rivals
    }
    times: dict[Contender, list[float]] = {contender: [] for contender in everybody}
    for _ in range(repeats):
        for contender in everybody:
            seconds = timeit.timeit(
                partial(_exhaust, contender, prepared[contender]), timer=process_time, number=passes[contender]
            )
            times[contender].append(1000 * seconds / passes[contender] / len(cases))
    _LOG.info("timed task=%r tiles=%d", task.name, len(cases))
    return list(_rows(task, times, verdicts))


def _exhaust(contender: Contender, cases: Any) -> None:
    """Do the work and let go of each result: to keep them all would time the system's handing out of memory."""
    for _ in contender.run(cases):
        pass


def _rows(
    task: Task, times: Mapping[Contender, Sequence[float]], verdicts: Mapping[tuple[Contender, Rival], Verdict]
) -> Iterator[Row]:
    for our in task.ours:
        our_ms = float(np.median(times[our]))
        if not task.rivals:
            yield Row(task.name, our.name, our_ms)
        for rival in task.rivals:
            their = rival.contender
            low, middle, high = np.quantile(np.array(times[their]) / np.array(times[our]), [0.25, 0.5, 0.75]).tolist()
            versus = Versus(their.name, float(np.median(times[their])), low, middle, high, verdicts[our, rival])
            yield Row(task.name, our.name, our_ms, versus)


def _whole_fold(cases: Sequence[Case], fold_tiles: int, hv_tiles: int) -> list[Whole]:
    """Really do the work of a fold, going round through the tiles."""
    rng = np.random.default_rng(0)
    organs = np.array(list(islice(cycle(ORGANS), fold_tiles)))
    quality, counts = rng.random(fold_tiles), rng.random((fold_tiles, len(NUCLEUS_CLASSES) * 4))

    def metrics() -> None:
        for case in islice(cycle(cases), fold_tiles):
            with_detection(case)

    def maps() -> None:
        turns = cycle(cases)
        for start in range(0, hv_tiles, BATCH):
            for _ in hv_of_batches(batches_of(list(islice(turns, min(BATCH, hv_tiles - start))))):
                pass

    def pooled(sums: np.ndarray) -> np.ndarray:
        figure: np.ndarray = pooled_mpq_of_sums(sums.reshape(-1, len(NUCLEUS_CLASSES), 4))
        return figure

    draws = f"{RESAMPLES:,} resamples of {fold_tiles:,} tiles"
    work: dict[str, Callable[[], object]] = {
        f"metrics of {fold_tiles:,} tiles, detection included": metrics,
        f"HV maps of {hv_tiles:,} tiles, in batches of {BATCH}": maps,
        f"interval of bPQ over organs, {draws}": partial(bootstrap_organ_mean, quality, organs, rng=rng),
        f"interval of pooled mPQ, {draws}": partial(bootstrap, pooled, counts, rng=rng),
    }
    done = [Whole(name, timeit.timeit(act, timer=process_time, number=1)) for name, act in work.items()]
    _LOG.info("timed whole folds fold_tiles=%d hv_tiles=%d", fold_tiles, hv_tiles)
    return done


def _conditions(args: argparse.Namespace, core: int | None) -> str:
    versions = {"numpy": np, "scipy": scipy, "scikit-image": skimage, "OpenCV": cv2, "torch": torch}
    absent = [project.name for name, project in peers.PROJECTS.items() if not getattr(args, name)]
    told = ", ".join(f"{name} {library.__version__}" for name, library in versions.items())
    cores = f"{os.cpu_count()} cores, {'pinned to one' if core is not None else 'not pinned'}"
    lines = [
        f"Machine: {_cpu()}, {cores}. Python {platform.python_version()}, {told}.",
        f"Tiles: {'of tile stores' if args.tiles else 'drawn'}, {args.tiles_each} for each number of nuclei; "
        f"{args.repeats} turns; milliseconds of processor time a tile are medians, ratios medians with quartiles.",
    ]
    return "\n".join([*lines, f"Not compared, no checkout given: {', '.join(absent)}."] if absent else lines)


def _cpu() -> str:
    """Model of the processor."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
