"""How long a run takes on this machine: the work that the settings ask for, at the measured speed.

What is measured (`Speed`) scales with encoder, decoder and device. The rest scales with the processor: it was measured once per
tile, in the demo on two cores, beside the decoding on the same processor.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Final

from cellvit.commands.checks.machine import fold_tiles
from cellvit.commands.checks.speed import Speed, measured_speed
from cellvit.config.settings import Settings
from cellvit.data.pannuke import fold_files
from cellvit.errors import CellvitError
from cellvit.systems import usable_processors
from cellvit.taxonomy import SHARED_FAMILY
from cellvit.workflow.ending import COLUMNS, duration
from cellvit.workflow.gpu import allowed_gpus

_REFERENCE_DECODE_S: Final = 0.0062
"""Decoding of a tile on the processor on which the constants below were measured."""

_SIMULATE_S: Final = 0.08
_PREPARE_S: Final = 0.085
"""Reading and checking a tile, and its targets."""

_READ_S: Final = 0.02
"""Preparing, writing and checking one view of a tile, beside the encoder."""

_TUNE_S: Final = 0.8
"""Tuning for each of the first validation tiles of a decoder, all of which are decoded at every point of the search."""

_TUNE_MORE_S: Final = 0.1
"""The same for each further tile, which is decoded at the best points alone (cellvit/workflow/resources.py)."""

_TUNED_TILES: Final = 32
_EVALUATE_S: Final = 0.3
"""All systems and baselines on a test tile, and the decoder on a training tile."""

_ROUTE_S: Final = 0.3
_CALIBRATE_S: Final = 0.5
_ORGAN_HEAD_S: Final = 0.0027
"""OrganHead, for each epoch and tile."""

_PAGE_S: Final = 12.0

_THREADS: Final = 4
"""Threads of a step that computes with torch (rules/*.smk)."""

_RANGE: Final = (0.7, 1.6)
"""Shortest and longest expected time, as shares of the estimate (decision): other disks and memory, and steps that wait for
each other, which the estimate leaves out."""

_KEPT: Final = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Work:
    """Work of one kind of step in all its jobs.

    Attributes:
        part: Part of the run that it belongs to.
        device_s: Seconds on one GPU; on one thread of the processor where there is none.
        core_s: Seconds on one thread of the processor.
        n_jobs: Jobs that could run at the same time.
        needs_gpu: Whether as many run at the same time as there are GPUs; else as many as there are cores.
    """

    part: str
    device_s: float
    core_s: float
    n_jobs: int
    needs_gpu: bool = True


def duration_lines(settings: Settings) -> list[str]:
    """How long a run takes, in words of at most 100 columns, with its parts."""
    try:
        speed = measured_speed(settings)
        n_gpus = max(len(allowed_gpus()), 1) if speed.device != "cpu" else 0
    except (CellvitError, RuntimeError, MemoryError) as error:  # of torch: no memory for this encoder
        return [f"time:  could not be measured: {(str(error).splitlines() or [''])[0]}"[:COLUMNS]]
    n_cores = usable_processors()
    parts = seconds_by_part(work_of(settings, speed), n_cores=n_cores, n_gpus=n_gpus)
    total = sum(parts.values())
    low, high = (_together(duration(total * share)) for share in _RANGE)
    listed = ", ".join(f"{part} {_together(duration(seconds))}" for part, seconds in parts.items())
    where = f"{n_gpus} GPU" if n_gpus else f"{n_cores} cores without a GPU"
    text = f"time:  about {duration(total)} on this machine ({low} to {high}; {where}): {listed}. {_basis(settings)}"
    return fill(text, COLUMNS, subsequent_indent=" " * 7).replace(_KEPT, " ").splitlines()


def seconds_by_part(works: Iterable[Work], *, n_cores: int, n_gpus: int) -> dict[str, float]:
    """Time of each part of a run: steps share GPUs and cores, and one kind of step follows the other."""
    found: dict[str, float] = {}
    for work in works:
        threads = min(_THREADS, n_cores)
        at_once = max(min(work.n_jobs, n_gpus if work.needs_gpu and n_gpus else n_cores // threads), 1)
        if work.needs_gpu and not n_gpus:
            at_once = 1  # `gpu: 1` of profiles/default also holds without a GPU
        device_s = work.device_s / (1 if n_gpus else threads)
        found[work.part] = found.get(work.part, 0.0) + (device_s + work.core_s / threads) / at_once
    return found


def work_of(settings: Settings, speed: Speed) -> tuple[Work, ...]:
    """The work of a whole run, in the order of the graph; at the speed of this processor, but for what was measured."""
    counts = counts_of(settings)
    scale, n, views = speed.decode_s / _REFERENCE_DECODE_S, counts.tiles, settings.features.n_views
    train, validate, test = (counts.by_role[role] for role in ("train", "validate", "test"))
    times, jobs = counts.decoders_per_tile, counts.splits * counts.decoders
    prepare_s = _PREPARE_S + (_SIMULATE_S if settings.data.simulated else 0)
    averaged = validate * times * len(settings.features.views) * settings.watershed.average_views
    organ_head_s = settings.has_organ_head * settings.organ_head.epochs * train * _ORGAN_HEAD_S
    trained, validated = _trained(settings, counts)
    tuned = validate * times
    tune_s = _TUNE_MORE_S * tuned + (_TUNE_S - _TUNE_MORE_S) * min(tuned, _TUNED_TILES * jobs)
    evaluated, routed = (train + test) * times, train + 2 * validate + test
    return (
        Work("data", 0, n * prepare_s * scale, counts.folds, needs_gpu=False),
        Work("features", n * views * speed.encode_s, n * views * _READ_S * scale, counts.folds),
        Work(
            "decoders",
            trained * speed.train_s + validated * speed.forward_s,
            validated * speed.decode_s + organ_head_s * scale,
            jobs,
        ),
        Work("tuning", averaged * speed.forward_s, 0, jobs),
        Work("tuning", 0, tune_s * scale, jobs, needs_gpu=False),
        Work("evaluation", evaluated * speed.forward_s, evaluated * _EVALUATE_S * scale, jobs),
        Work("evaluation", routed * speed.forward_s, (test * _ROUTE_S + routed * _CALIBRATE_S) * scale, counts.splits),
        Work("starting the steps", 0, counts.jobs * speed.start_s + _PAGE_S * scale, counts.jobs, needs_gpu=False),
    )


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there is of everything.

    Attributes:
        tiles: Of all folds; `by_role` has those of each role, in all splits together.
        decoders: Of a split.
        decoders_per_tile: How many of them learn from each tile: that of its family, and the shared one, for each seed.
        jobs: Steps that load torch.
    """

    tiles: int
    folds: int
    splits: int
    by_role: Mapping[str, int]
    decoders: int
    decoders_per_tile: int

    @property
    def jobs(self) -> int:
        """Steps that load torch: a few for each fold, split and decoder."""
        return 5 * self.folds + self.splits * (3 * self.decoders + 4)


def counts_of(settings: Settings) -> Counts:
    """What the settings ask for."""
    tiles = {fold: fold_tiles(settings, fold) for fold in settings.data.folds}
    splits, seeds = settings.splits.values(), 1 + len(settings.further_seeds)
    families = settings.decoder_families
    return Counts(
        tiles=sum(tiles.values()),
        folds=len(tiles),
        splits=len(splits),
        by_role={
            role: sum(tiles[fold] for split in splits for fold in split.roles[role])
            for role in ("train", "validate", "test")
        },
        decoders=len(families) * seeds,
        decoders_per_tile=(1 + (SHARED_FAMILY in families and len(families) > 1)) * seeds,
    )


def _trained(settings: Settings, counts: Counts) -> tuple[int, int]:
    """Tiles in all steps of all trainings, and in all their validations; the families are taken for equally large."""
    families, trained, validated = settings.decoder_families, 0, 0
    n_own = len(families) - (len(families) > 1 and SHARED_FAMILY in families)
    for family in families:
        training = settings.of_family(family).training
        share = counts.splits * (1 if family == SHARED_FAMILY else n_own)
        train, validate = (-(-counts.by_role[role] // share) for role in ("train", "validate"))
        n_steps = training.n_steps(train)
        trained += n_steps * training.batch_size
        validated += (-(-n_steps // training.validate_every) + 1) * validate  # and once more for the maps
    times = counts.splits * (1 + len(settings.further_seeds))
    return trained * times, validated * times


def _together(text: str) -> str:
    """A number and its unit, which a line break does not part."""
    return text.replace(" ", _KEPT)


def _basis(settings: Settings) -> str:
    counts = counts_of(settings)
    assumed = not settings.data.simulated and not all(
        fold_files(Path(settings.data.root or ""), fold).types.is_file() for fold in settings.data.folds
    )
    tiles = f"{counts.tiles:,} tiles" + (" (assumed, because they could not be counted)" if assumed else "")
    return (
        f"For {tiles}, {settings.features.n_views} views, {counts.splits * counts.decoders} decoders; measured in 20 seconds "
        "with weights that are not trained. What the result cache has takes seconds."
    )
