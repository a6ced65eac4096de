"""Speed and memory of the prediction of an image, beside the bare rate of its encoder and decoder.

    python benchmarks/predict.py IMAGE --model BUNDLE [--device cpu] [--threads 2] [--overlap-px 128]

The bare rate is measured in the same run, before and after, on tiles of the same image that are in memory already: the same
batches go through the same encoder and decoder, as many at a time, and nothing is read, blended, decoded or written. The share of the bare rate
is what the prediction of all tiles reaches of it, from the first tile that is read to the last window that is decoded. On a
machine that others use too, the rates before and after differ: repeat the run when it is quiet. The share by processor time (of
all processes, for a tile) depends less on the load, but on it too, because threads of torch wait actively.
Memory is the peak of the process, less what it held when the models were loaded, and the peak of the largest worker process.
"""

import argparse
import math
import resource
import tempfile
import time
from contextlib import closing
from itertools import repeat
from pathlib import Path

import numpy as np
import psutil
import torch

from cellvit.config.prediction import PredictionSettings
from cellvit.formats.bundle import read_bundle
from cellvit.inference.lanes import in_lanes, shared_out
from cellvit.inference.parallel import WORTH_A_POOL, workers
from cellvit.models.device import resolve_device
from cellvit.prediction.merging import Work, merge_chunks
from cellvit.prediction.models import TilePredictor, load_ensemble
from cellvit.prediction.opened import OpenedImage, opened_image
from cellvit.prediction.organ import families_of
from cellvit.prediction.request import Request
from cellvit.prediction.shards import write_shard
from cellvit.prediction.stream import Stream
from cellvit.systems import peak_memory_bytes, usable_processors
from cellvit.taxonomy import TILE_PX

BARE_S = 15.0
"""Seconds of each of the two measurements of the bare rate."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="folder of a bundle")
    parser.add_argument("--organ", default="", help="organ, which chooses the decoder (default: the default decoder)")
    parser.add_argument("--mpp", type=float, help="micrometres per pixel, if the file does not state it")
    parser.add_argument("--area", choices=["auto", "whole", "tissue"], default="auto")
    parser.add_argument("--overlap-px", type=int, default=128)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--threads", type=int, default=usable_processors())
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--bare-seconds", type=float, default=BARE_S)
    args = parser.parse_args()
    device = resolve_device(args.device)
    lanes = shared_out(device, args.threads)
    ensemble = load_ensemble([read_bundle(args.model)], device)
    decoders = ensemble.decoders(families_of(ensemble, args.organ), average_views=False)
    predictor = TilePredictor(ensemble, decoders)
    settings = PredictionSettings(mpp=args.mpp, area=args.area, overlap_px=args.overlap_px)
    request = Request(path=args.image, name=args.image.stem, settings=settings, batch_size=args.batch_size)
    data_set = ensemble.models[0].bundle.document.dataset
    with opened_image(request, data_set, key="") as image, workers(args.threads, WORTH_A_POOL) as pool:
        stream = Stream(
            image.pixels, image.plan, predictor, pool, batch_size=args.batch_size, lanes=lanes, always_parallel=True
        )
        measure(image, stream, args.bare_seconds, mpp=data_set.mpp)


def measure(image: OpenedImage, stream: Stream, bare_s: float, *, mpp: float) -> None:
    """Print the figures of the prediction of all chunks of an image."""
    images = some_tiles(image, stream.batch())
    plain = bare_rate(stream, images, bare_s, lanes=1)
    before = bare_rate(stream, images, bare_s, lanes=stream.lanes)
    cpu_bare = bare_cpu_s(stream, images)
    list(stream.pool.map(abs, range(256)))  # the worker processes start
    held_mb = now_mb()
    n_tiles, n_windows = 0, int(image.plan.active.sum())
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder), "benchmark")
        started, cpu_started = time.monotonic(), cpu_s()
        for chunk in image.plan.chunks():
            shard = stream.shard(chunk)
            n_tiles += shard.n_encoded
            write_shard(work.shard(chunk), work.key, shard)
        tiles_s, tiles_cpu_s = time.monotonic() - started, cpu_s() - cpu_started
        merged = merge_chunks(work, image.plan.chunks(), stream.pool, area=None, scale=1.0)
        n_nuclei = sum(int(counts.sum()) for counts in merged)
        merging_s = time.monotonic() - started - tiles_s
    after = bare_rate(stream, images, bare_s, lanes=stream.lanes)
    bare, mm2 = (before + after) / 2, covered_mm2(image, mpp)
    device, lanes = stream.predictor.ensemble.device, stream.lanes
    print(f"device                         {device}, {lanes} batches at a time, {torch.get_num_threads()} threads each")
    print(f"image                          {image.pixels.width} x {image.pixels.height} px, {mm2:.3f} mm2 predicted")
    print(f"tiles encoded, windows         {n_tiles}, {n_windows}; {n_nuclei} nuclei")
    print(f"tiles/s                        {n_tiles / tiles_s:.2f}")
    print(f"s/mm2                          {(tiles_s + merging_s) / mm2:.2f} (of these, merging {merging_s / mm2:.2f})")
    print(f"bare encoder and decoder       {bare:.2f} tiles/s ({before:.2f} before, {after:.2f} after)")
    print(f"one batch after the other      {plain:.2f} tiles/s, each batch on all threads")
    print(f"share of the bare rate         {n_tiles / tiles_s / bare:.1%}")
    if stream.predictor.ensemble.device.type == "cpu":
        print(f"share by processor time        {cpu_bare * n_tiles / tiles_cpu_s:.1%}")
    print(f"waiting for post-processing    {stream.clock.waiting / stream.clock.total:.1%} of the time")
    print(f"peak memory beside the models  {(peak_mb(resource.RUSAGE_SELF) - held_mb) / 1000:.2f} GB")
    print(f"peak of a worker process       {peak_mb(resource.RUSAGE_CHILDREN) / 1000:.2f} GB (known when it has ended)")
    if stream.predictor.ensemble.device.type == "cuda":
        print(f"peak memory of the GPU         {torch.cuda.max_memory_allocated() / 1e9:.2f} GB, with the models")


def some_tiles(image: OpenedImage, n: int) -> torch.Tensor:
    """One batch of active tiles, in memory."""
    places = np.argwhere(image.plan.active)[:n]
    grid = image.plan.grid
    tiles = [
        image.pixels.read(grid.columns.starts[column], grid.rows.starts[row], TILE_PX, TILE_PX)
        for row, column in places.tolist()
    ]
    return torch.from_numpy(np.stack(tiles))


def bare_rate(stream: Stream, images: torch.Tensor, seconds: float, *, lanes: int) -> float:
    """Tiles per second of encoder and decoder alone, with so many batches at a time and the same threads in all."""
    on_device, threads = images.to(stream.predictor.ensemble.device), torch.get_num_threads()
    synchronise = torch.cuda.synchronize if on_device.is_cuda else lambda: None
    torch.set_num_threads(threads * stream.lanes // lanes)
    started, n = math.inf, 0
    with closing(in_lanes(stream.predictor.predicted, repeat(on_device), lanes)) as batches:
        for number, _ in enumerate(batches):
            synchronise()
            if number == lanes:  # the first ones prepare the kernels
                started, n = time.monotonic(), 0
            n += len(images)
            if time.monotonic() - started > seconds:
                break
    rate = (n - len(images)) / (time.monotonic() - started)
    torch.set_num_threads(threads)
    return rate


def bare_cpu_s(stream: Stream, images: torch.Tensor, batches: int = 4) -> float:
    """Processor time of encoder and decoder alone, for a tile."""
    started = cpu_s()
    for _ in range(batches):
        stream.predictor.predicted(images.to(stream.predictor.ensemble.device))
    return (cpu_s() - started) / (batches * len(images))


def cpu_s() -> float:
    """Processor time of this process and of its worker processes."""
    children = (child.cpu_times() for child in psutil.Process().children())
    return time.process_time() + sum(times.user + times.system for times in children)


def covered_mm2(image: OpenedImage, mpp: float) -> float:
    """Area of the cores of the active tiles."""
    boxes = image.plan.grid.core_boxes[image.plan.active]
    return float(((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sum()) * (mpp / 1000) ** 2


def now_mb() -> float:
    """Memory of this process."""
    return psutil.Process().memory_info().rss / 1e6


def peak_mb(who: int) -> float:
    """Peak of this process, or of the largest child that has ended."""
    return peak_memory_bytes(who) / 1e6


if __name__ == "__main__":
    main()
