"""Speed of the training of a decoder with its validation, beside the bare step, and beside another checkout.

    python benchmarks/train.py [--against ../cellvit-before] [--tiles 32] [--epochs 5] [--batch 16] [--widths 256 128 64 64 64]

Each checkout trains the same decoder on the same number of random tiles with tokens in the layout of H-optimus-0, for the
same number of steps, in a process of its own, alternately, so that the ratios come from one run. bPQ is measured once, after
the last step; what else is measured on the validation tiles, and how often, is what the checkout does by default: until
training counted in steps, losses and metrics of the maps after every epoch.

Share of the bare step: forward pass, backward pass and optimizer on random tensors, as a share of the time that a step
takes in the training. Waits: how often the host reads a value of a tensor in a step; on a GPU it would wait there. HV
targets are left out on a CPU, where numpy computes them; tests/training/test_step_without_waiting.py covers them.
Processor time is that of all threads of the process; other work on the machine disturbs it less than the time that passes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from stores import write_family
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from cellvit.config.models import DecoderSettings, TrainingSettings
from cellvit.config.steps import TrainHovernetSettings
from cellvit.formats.family import FamilyData, open_family
from cellvit.models.device import resolve_device
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.systems import peak_memory_bytes
from cellvit.training.hovernet import RowsByRole, architecture_of, fit_decoder
from cellvit.training.loop import adamw

TRAIN, VALIDATE = 1, 2
BARE_STEPS: Final = 2
COUNTED_EPOCHS: Final = 2
READS: Final = frozenset({"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "is_nonzero", "equal"})
"""Operators of torch whose result the host reads, or whose shape depends on values."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One training.

    Attributes:
        wall_s, processor_s: Time of the training with its validation.
        bare_share: Time of as many bare steps, as a share of the training: processor time, on a GPU time that passes.
        waits: Values that the host read in a step, without those of the optimizer on its own counters.
        peak_gb: Largest memory of the host.
    """

    n_tiles: int
    wall_s: float
    processor_s: float
    bare_share: float
    waits: float
    peak_gb: float


class Reads(TorchDispatchMode):
    """Counts what the host reads outside the optimizer, which reads its own counters on a CPU.

    Attributes:
        before: Number of reads before each step of the optimizer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.before: list[int] = []
        self._n, self._inside = 0, False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._n += func.overloadpacket.__name__ in READS and not self._inside
        return func(*args, **(kwargs or {}))

    def begin(self, *_: object) -> None:
        self.before.append(self._n)
        self._inside = True

    def end(self, *_: object) -> None:
        self._inside = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout of this repository, such as the commit before")
    parser.add_argument("--tiles", type=int, default=32, help="training tiles; there are as many validation tiles")
    parser.add_argument("--epochs", type=int, default=5, help="how often each tile is shown")
    parser.add_argument("--batch", type=int, default=16, help="tiles per step")
    parser.add_argument("--rounds", type=int, default=3, help="trainings of each checkout")
    parser.add_argument("--widths", type=int, nargs=5, default=[256, 128, 64, 64, 64], help="as decoder.widths")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    about = "as training.precision, where a checkout has this setting"
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"], help=about)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(asdict(measured(args))))
        return
    own = Path(__file__).parents[1]
    checkouts = [own, args.against.resolve()] if args.against else [own]
    results: dict[Path, list[Measured]] = {checkout: [] for checkout in checkouts}
    for _ in range(args.rounds):
        for checkout in checkouts:
            results[checkout].append(in_a_process(checkout))
    print_table(results)


def in_a_process(checkout: Path) -> Measured:
    """The measurement with the package and the stores of a checkout; this program is the same for all."""
    paths = os.pathsep.join((str(checkout), str(checkout / "benchmarks")))
    command = [sys.executable, "-P", __file__, *sys.argv[1:], "--measure"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True, check=True
    )
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def measured(args: argparse.Namespace) -> Measured:
    """Train once, with what this process imports."""
    device, n = resolve_device(args.device), args.tiles
    with tempfile.TemporaryDirectory() as name, open_family(*write_family(Path(name), {TRAIN: n, VALIDATE: n})) as data:
        rows = RowsByRole(data.rows_of_folds([TRAIN]), data.rows_of_folds([VALIDATE]))
        settings = settings_of(args, args.epochs)
        torch.optim.AdamW([torch.zeros(1)])  # the first optimizer of a process loads parts of torch, for seconds
        started = time.perf_counter(), time.process_time()
        fit_decoder(data, rows, settings, device=device)
        wall_s, processor_s = time.perf_counter() - started[0], time.process_time() - started[1]
        peak_gb = peak_memory_bytes() / 1e9
        n_tiles = n * args.epochs
        bare_s = bare_step_s(data, settings, device) * n_steps(args, args.epochs)
        waits = waits_per_step(data, rows, settings_of(args, COUNTED_EPOCHS), device)
    share = bare_s / (processor_s if device.type == "cpu" else wall_s)
    return Measured(n_tiles, wall_s, processor_s, share, waits, peak_gb)


def n_steps(args: argparse.Namespace, epochs: int) -> int:
    """Steps of so many epochs."""
    return epochs * -(-args.tiles // args.batch)


def settings_of(args: argparse.Namespace, epochs: int) -> TrainHovernetSettings:
    """Settings of a training of so many epochs, with the settings that this checkout knows."""
    if "steps" in TrainingSettings.model_fields:
        counted = {"steps": n_steps(args, epochs)}
    else:
        counted = {"epochs": epochs, "bpq_every": epochs}
    chosen = {"precision": args.precision} if "precision" in TrainingSettings.model_fields else {}
    training = TrainingSettings.model_validate({"batch_size": args.batch, **counted, **chosen})
    return TrainHovernetSettings(decoder=DecoderSettings(widths=tuple(args.widths)), training=training, seed=0)


def bare_step_s(data: FamilyData, settings: TrainHovernetSettings, device: torch.device) -> float:
    """Median time of forward pass, backward pass and optimizer on random tensors."""
    # A checkout from before data sets of other classes than those of PanNuke takes no number of classes.
    classes = (data.tiles.dataset.n_classes,) if hasattr(data.tiles, "dataset") else ()
    decoder = HoVerNetDecoder(**architecture_of(settings.decoder, data.features, *classes)).to(device).train()
    optimizer, b = adamw((decoder,), learning_rate=1e-4, weight_decay=1e-2), settings.training.batch_size
    tokens = torch.randn(b, *decoder.token_shape, device=device).half()
    image = torch.rand(b, 256, 256, 3, device=device).permute(0, 3, 1, 2)
    precision = getattr(settings.training, "precision", "auto")  # a checkout from before this setting has none
    half = device.type == "cuda" if precision == "auto" else precision == "bfloat16"
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    seconds = []
    for _ in range(1 + BARE_STEPS):
        started = clock()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            maps = decoder(tokens, image)
        sum(branch.float().square().mean() for branch in maps).backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(clock() - started)
    return statistics.median(seconds[1:])  # the first step is slower


def waits_per_step(data: FamilyData, rows: RowsByRole, settings: TrainHovernetSettings, device: torch.device) -> float:
    """Values that the host reads in a step of a training without validation tiles."""
    reads = Reads()
    hooks = register_optimizer_step_pre_hook(reads.begin), register_optimizer_step_post_hook(reads.end)
    with reads:
        fit_decoder(data, rows._replace(validate=rows.validate[:0]), settings, device=device)
    for hook in hooks:
        hook.remove()
    return (reads.before[-1] - reads.before[0]) / (len(reads.before) - 1)


def print_table(results: dict[Path, Sequence[Measured]]) -> None:
    """One line for each checkout, and the ratios of the first to each other one, round by round."""
    print("| checkout | tiles/s | processor time per tile | share of the bare step | reads per step | peak memory |")
    print("|---|--:|--:|--:|--:|--:|")
    for number, (_, runs) in zip(count(), results.items(), strict=False):
        tiles_per_s = statistics.median(run.n_tiles / run.wall_s for run in runs)
        per_tile = statistics.median(run.processor_s / run.n_tiles for run in runs)
        share = statistics.median(run.bare_share for run in runs)
        waits, peak_gb = max(run.waits for run in runs), max(run.peak_gb for run in runs)
        name = "other" if number else "this"
        print(f"| {name} | {tiles_per_s:.2f} | {per_tile:.3f} s | {share:.0%} | {waits:.1f} | {peak_gb:.2f} GB |")
    own, *others = results.values()
    for other in others:
        wall, processor = (
            np.array([getattr(b, name) / getattr(a, name) for a, b in zip(own, other, strict=True)])
            for name in ("wall_s", "processor_s")
        )
        print(
            f"\nTimes faster: {np.median(processor):.2f} ({processor.min():.2f} to {processor.max():.2f}) by processor "
            f"time, {np.median(wall):.2f} ({wall.min():.2f} to {wall.max():.2f}) by the time that passes."
        )


if __name__ == "__main__":
    main()
