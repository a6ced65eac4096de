"""Speed of targets, post-processing and metrics compared with other projects, on the same tiles and one core.

    python benchmarks/kernels.py --hover-net ../hover_net --cellvit ../CellViT --pannuke-metrics ../PanNuke-metrics \\
        --cellseg-models ../cellseg_models.pytorch --out docs/benchmarks.md

Our functions and theirs alternate, several times. The table shows medians, and the ratio of the times with its quartiles.
Processor time is measured: on one thread it is the time that passes on an idle machine, and other work on the machine
disturbs it less. Before anything is timed, the results are compared. If they differ for an unknown reason, the table
shows it and the program ends with 1. Without checkouts, only our functions are timed. The functions of other projects run
unchanged (peers.py).
"""

import argparse
import logging
import math
import os
import platform
import sys
import timeit
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from time import process_time
from typing import Any, Final

# Libraries read these when they are first imported. Each must use one thread, or the times are not those of one core.
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
from kernel_tables import Comparison, Row, table, table_of_folds
from kernel_tasks import BATCH, Candidate, Peer, Task, batches_of, hv_of_batches, tasks, with_detection
from kernel_tiles import Case, stored_cases, synthetic_cases
from pages import replace_tables

from cellvit.errors import CellvitError, SettingsError
from cellvit.metrics.intervals import interval_of_organ_mean, interval_of_sums
from cellvit.metrics.pannuke import pooled_mpq_of_sums
from cellvit.taxonomy import NUCLEUS_CLASSES, ORGANS

SHORTEST_S: Final = 0.05
"""Shortest time that is measured; faster functions are repeated until they take as long."""

log = logging.getLogger("kernels")


def main() -> int:
    parser = _parser()
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        core = _pin(args.core)
        timed = tasks(_checkouts(args))
        cases = {n: _cases(args.tiles, n, args.tiles_each) for n in args.nuclei}
        rows = {n: [row for task in timed for row in _rows(task, cases[n], args.repeats)] for n in args.nuclei}
        folds = table_of_folds(args.nuclei[0], _fold_seconds(cases[args.nuclei[0]], args.fold_tiles, args.hv_tiles))
        tables = [table(n, cases[n], rows[n]) for n in args.nuclei]
        text = "\n\n".join([_conditions(args, core), *tables, folds]) + "\n"
        print(text, end="")
        if args.out:
            replace_tables(args.out, "kernels.py", text)
    except CellvitError as error:
        parser.exit(2, f"{type(error).__name__}: {error}\n")
    wrong = [row for some in rows.values() for row in some if row.theirs and not row.theirs.verdict.holds]
    for row in wrong:
        log.error("results differ task=%r ours=%r: %s", row.task, row.ours, row.theirs)
    return 1 if wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, project in peers.PROJECTS.items():
        about = f"checkout of {project.url}, commit {project.commit[:8]}"
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, metavar="FOLDER", help=about)
    about = "tile stores of a run, as results/tiles/fold1.h5; without this option, tiles are synthetic"
    parser.add_argument("--tiles", type=Path, nargs="+", default=[], metavar="STORE", help=about)
    parser.add_argument("--nuclei", type=int, nargs="+", default=[25, 150], help="nuclei per tile, one table for each")
    parser.add_argument("--tiles-each", type=int, default=24, help="number of tiles in each table")
    parser.add_argument("--repeats", type=int, default=7, help="number of measurements of each function")
    parser.add_argument("--core", type=int, help="core to run on (default: the first that is allowed)")
    parser.add_argument("--fold-tiles", type=int, default=2700, help="tiles of the fold whose metrics are timed")
    parser.add_argument("--hv-tiles", type=int, default=8000, help="tiles of the fold whose HV maps are timed")
    parser.add_argument("--out", type=Path, metavar="PAGE", help="page in which the tables are replaced")
    return parser


def _pin(core: int | None) -> int | None:
    """Run on one core only, and return it; None if the system cannot do this."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if not hasattr(os, "sched_setaffinity"):
        log.warning("this system cannot pin a process to a core; times may vary")
        return None
    allowed = sorted(os.sched_getaffinity(0))
    chosen = allowed[0] if core is None else core
    if chosen not in allowed:
        raise SettingsError(f"--core: expected one of {allowed}, found {chosen}. Fix: choose one, or leave it out.")
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
    return stored_cases(stores, n_nuclei, count, rng) if stores else synthetic_cases(n_nuclei, count, rng)


def _rows(task: Task, cases: Sequence[Case], repeats: int) -> list[Row]:
    """Compare the results of every pair of functions, then time all functions alternately."""
    candidates = [*task.ours, *(peer.candidate for peer in task.peers)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other projects call deprecated functions, which still work
        prepared = {candidate: candidate.prepare(cases) for candidate in candidates}
        results, passes = {}, {}
        for candidate in candidates:
            start = process_time()
            results[candidate] = list(candidate.run(prepared[candidate]))
            passes[candidate] = math.ceil(SHORTEST_S / (process_time() - start))
        times: dict[Candidate, list[float]] = {candidate: [] for candidate in candidates}
        for candidate in candidates * repeats:
            run, number = partial(_consume, candidate, prepared[candidate]), passes[candidate]
            seconds = timeit.timeit(run, timer=process_time, number=number)
            times[candidate].append(1000 * seconds / number / len(cases))
    log.info("timed task=%r tiles=%d", task.name, len(cases))
    verdicts = {
        (our, peer): peer.check(cases, results[our], results[peer.candidate])
        for our in task.ours
        for peer in task.peers
    }
    return list(_compared(task, times, verdicts))


def _consume(candidate: Candidate, cases: Iterable[Any]) -> None:
    """Compute and discard each result: to store all of them would measure the allocation of memory."""
    for _ in candidate.run(cases):
        pass


def _compared(
    task: Task, times: Mapping[Candidate, Sequence[float]], verdicts: Mapping[tuple[Candidate, Peer], Verdict]
) -> Iterator[Row]:
    for our in task.ours:
        our_ms = float(np.median(times[our]))
        if not task.peers:
            yield Row(task.name, our.name, our_ms)
        for peer in task.peers:
            their = peer.candidate
            quartiles = np.quantile(np.array(times[their]) / np.array(times[our]), [0.25, 0.5, 0.75]).tolist()
            theirs = Comparison(their.name, float(np.median(times[their])), *quartiles, verdicts[our, peer])
            yield Row(task.name, our.name, our_ms, theirs)


def _fold_seconds(cases: Sequence[Case], fold_tiles: int, hv_tiles: int) -> dict[str, float]:
    """Seconds of the work of a whole fold, whose tiles are the cases, repeated."""
    rng = np.random.default_rng(0)
    organs = np.array(list(islice(cycle(ORGANS), fold_tiles)))
    quality, counts = rng.random(fold_tiles), rng.random((fold_tiles, len(NUCLEUS_CLASSES) * 4))

    def metrics() -> None:
        for case in islice(cycle(cases), fold_tiles):
            with_detection(case)

    def maps() -> None:
        tiles = cycle(cases)
        for start in range(0, hv_tiles, BATCH):
            for _ in hv_of_batches(batches_of(list(islice(tiles, min(BATCH, hv_tiles - start))))):
                pass

    def pooled(sums: np.ndarray) -> np.ndarray:
        return pooled_mpq_of_sums(sums.reshape(-1, len(NUCLEUS_CLASSES), 4))

    work: dict[str, Callable[[], object]] = {
        f"metrics of {fold_tiles:,} tiles, detection included": metrics,
        f"HV maps of {hv_tiles:,} tiles, in batches of {BATCH}": maps,
        f"interval of bPQ over organs, {fold_tiles:,} tiles": partial(interval_of_organ_mean, quality, organs),
        f"interval of pooled mPQ, {fold_tiles:,} tiles": partial(interval_of_sums, pooled, counts),
    }
    seconds = {name: timeit.timeit(act, timer=process_time, number=1) for name, act in work.items()}
    log.info("timed whole folds fold_tiles=%d hv_tiles=%d", fold_tiles, hv_tiles)
    return seconds


def _conditions(args: argparse.Namespace, core: int | None) -> str:
    libraries = {"numpy": np, "scipy": scipy, "scikit-image": skimage, "OpenCV": cv2, "torch": torch}
    versions = ", ".join(f"{name} {library.__version__}" for name, library in libraries.items())
    cores = f"{os.cpu_count()} cores, {'pinned to one' if core is not None else 'not pinned'}"
    absent = [project.name for name, project in peers.PROJECTS.items() if not getattr(args, name)]
    lines = [
        f"Machine: {_cpu()}, {cores}. Python {platform.python_version()}, {versions}.",
        f"Tiles: {'from tile stores' if args.tiles else 'synthetic'}, {args.tiles_each} per table. Times are medians of "
        f"{args.repeats} measurements, in milliseconds of processor time per tile; ratios are medians with quartiles.",
    ]
    return "\n".join(
        [*lines, f"Not compared, because no checkout was given: {', '.join(absent)}."] if absent else lines
    )


def _cpu() -> str:
    """Model of the processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
