"""Speed of the extraction compared with the bare forward pass of the same model, its memory, and the speed of reading.

    python benchmarks/extract.py [--presets tiny-vit h0-mini] [--tiles 2048 32] [--out docs/benchmarks.md]
    python benchmarks/extract.py --presets h-optimus-0 --tiles 4096                    # on a GPU

Speed: four passes alternate, several times. The bare forward pass runs on prepared tiles in the memory of the device; the
second pass also resizes and normalises them; the third is the whole extraction without writing; the fourth writes a store.
Percentages compare passes of the same round, because other work on the machine disturbs all of them. On a GPU, the rate
of a large matrix product in the same arithmetic is shown beside that of the encoder. Memory: the peak of the step
`extract_features` on two numbers of tiles. Reading: shuffled batches of 16 from stores in the layout of H-optimus-0, from a
warm cache, in processor time of one thread.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np
import torch
from pages import replace_tables
from stores import peak_gb, write_family, write_tiles
from torch.utils.flop_counter import FlopCounterMode

from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.config.presets import PRESETS
from cellvit.config.steps import ExtractFeaturesSettings
from cellvit.data.batches import shuffled_rows
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.family import open_family
from cellvit.formats.features import FEATURES, FeatureBatch, append_features, open_features, read_tokens
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import open_tiles, read_tiles
from cellvit.formats.writing import resumable_writing
from cellvit.inference.background import Background
from cellvit.inference.features import Extraction
from cellvit.models.device import resolve_device
from cellvit.models.encoder import Encoder, load_encoder

READ_BATCH: Final = 16
"""Tiles that a training step reads."""

GRID: Final = 16
"""Cells per side of the token grid."""

MATRIX: Final = 8192
"""Side of the matrices whose product is timed on a GPU."""

Pass = tuple[int, Callable[[], object]]
"""Number of tiles, and the work on them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["tiny-vit"], help="encoders")
    parser.add_argument(
        "--weights", default="random", help="published, random or a file; the speed is the same for all"
    )
    parser.add_argument("--tiles", type=int, nargs="+", default=[1024], help="tiles of a pass, for each encoder")
    parser.add_argument("--rounds", type=int, default=5, help="number of measurements of each pass")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--read-tiles", type=int, default=512, help="tiles of each of the two folds that are read")
    parser.add_argument("--out", type=Path, metavar="PAGE", help="page in which the tables are replaced")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    text = "\n".join(lines(args))
    if args.out is None:
        print(text)
    else:
        replace_tables(args.out, "extract.py", text)


def lines(args: argparse.Namespace) -> Iterator[str]:
    device = resolve_device(args.device)
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    yield f"{gpu or f'CPU, torch threads: {args.threads}'}; torch {torch.__version__}; medians of {args.rounds} rounds."
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for preset, n in zip(args.presets, args.tiles, strict=True):
            settings = ExtractFeaturesSettings(
                encoder=EncoderSettings(preset=preset, weights=args.weights),
                features=FeaturesSettings(input_px=GRID * PRESETS[preset].patch_px, views=("identity",)),
            )
            yield from ("", f"Encoder {preset}, {n} tiles per pass:", "")
            yield from speed(settings, args, n, folder)
            yield from memory(settings, args, n, folder)
        yield from ("", "| reading from a warm cache | |", "|---|--:|", *reading(args.read_tiles, folder))
    if not gpu:
        yield from ("", "No GPU was available: rates, memory and copies of a GPU were not measured.")


def speed(settings: ExtractFeaturesSettings, args: argparse.Namespace, n: int, folder: Path) -> Iterator[str]:
    encoder = load_encoder(settings.encoder, settings.features, resolve_device(args.device))
    with open_tiles(write_tiles(folder / "speed.h5", n)) as tiles:
        extraction = Extraction(encoder, tiles, settings.features)
        passes = passes_of(
            encoder, extraction, tiles.read("image", np.arange(min(extraction.block_size, n))), n, folder
        )
        for _, work in passes.values():
            seconds(work, encoder)  # the first call is slower
        rates: dict[str, list[float]] = {name: [] for name in passes}
        busy_ms: dict[str, list[float]] = {name: [] for name in passes}
        for _ in range(args.rounds):
            for name, (count, work) in passes.items():
                start = time.process_time()
                rates[name].append(count / seconds(work, encoder))
                busy_ms[name].append(1e3 * (time.process_time() - start) / count)
    bare, resized = (np.array(rates[name]) for name in list(passes)[:2])
    yield "| | rate | of the bare pass | of the pass with resizing | processor time per tile |"
    yield "|---|--:|--:|--:|--:|"
    for name, measured in rates.items():
        of_bare, of_resized = (100 * np.median(np.array(measured) / other) for other in (bare, resized))
        rate, busy = np.median(measured), np.median(busy_ms[name])
        yield f"| {name} | {rate:.1f} tiles/s | {of_bare:.0f} % | {of_resized:.0f} % | {busy:.2f} ms |"
    yield from ("", "| | |", "|---|--:|", f"| tiles per block | {extraction.block_size} |")
    yield from matrix_rate(encoder, float(np.median(bare)))


def passes_of(encoder: Encoder, extraction: Extraction, block: np.ndarray, n: int, folder: Path) -> dict[str, Pass]:
    """The four passes over about `n` tiles; the first two repeat a block of images."""
    images = torch.from_numpy(block).to(encoder.device)
    prepared, times = encoder.prepared(images), n // len(images)
    count = times * len(images)
    return {
        "bare forward pass on prepared tiles in memory": (
            count,
            lambda: [encoder.encoded(prepared) for _ in range(times)],
        ),
        "forward pass with resizing, tiles in memory": (count, lambda: [encoder(images) for _ in range(times)]),
        "extraction without writing": (n, lambda: list(map(len, extraction.blocks(range(n))))),
        "extraction with writing": (n, lambda: extract(folder / "speed_features.h5", extraction, encoder, n)),
    }


def seconds(work: Callable[[], object], encoder: Encoder) -> float:
    start = time.perf_counter()
    work()
    if encoder.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def extract(path: Path, extraction: Extraction, encoder: Encoder, n: int) -> None:
    """Write a store as `extract_features` does."""
    sizes = {"views": 1, "blocks": len(encoder.blocks), "g": encoder.grid, "dim": encoder.dim}
    with (
        resumable_writing(path, FEATURES, n, sizes, Provenance(data_set=PANNUKE), made_by={}) as writer,
        Background[FeatureBatch](lambda batch: append_features(writer, batch)) as background,
    ):
        for batch in extraction.blocks(range(n)):
            background.put(batch)


def matrix_rate(encoder: Encoder, tiles_per_s: float) -> list[str]:
    """On a GPU, the arithmetic of the bare pass compared with that of one large matrix product."""
    if encoder.device.type != "cuda":
        return []
    a, b = (torch.randn(MATRIX, MATRIX, device=encoder.device, dtype=encoder.dtype) for _ in range(2))
    for _ in range(3):
        a @ b
    torch.cuda.synchronize()
    repeats = 20
    product = repeats * 2 * MATRIX**3 / seconds(lambda: [a @ b for _ in range(repeats)], encoder)
    own = tiles_per_s * operations(encoder)
    return [
        f"| {MATRIX} x {MATRIX} matrix product in {encoder.dtype} | {product / 1e12:.0f} TFLOP/s |",
        f"| bare forward pass | {own / 1e12:.0f} TFLOP/s, {100 * own / product:.0f} % of the matrix product |",
        f"| peak device memory | {torch.cuda.max_memory_allocated() / 1e9:.2f} GB |",
    ]


def operations(encoder: Encoder) -> float:
    """Multiplications and additions of one tile, as torch counts them."""
    tile = torch.zeros(1, 256, 256, 3, dtype=torch.uint8, device=encoder.device)
    with FlopCounterMode(display=False) as counter:
        encoder(tile)
    return float(counter.get_total_flops())


def memory(settings: ExtractFeaturesSettings, args: argparse.Namespace, n: int, folder: Path) -> Iterator[str]:
    """Peak memory of the step without tiles, which only loads the encoder, and on two numbers of tiles."""
    for count in (0, n, 8 * n):
        tiles = write_tiles(folder / f"memory{count}.h5", count)
        features = folder / f"memory{count}_features.h5"
        peak = peak_gb(
            folder,
            "extract_features",
            settings=settings.model_dump_json(by_alias=True),
            tiles=tiles,
            check=tiles,  # not read
            features=features,
            device=args.device,
            threads=args.threads,
        )
        tiles.unlink()
        features.unlink()
        yield f"| peak host memory of `extract_features`, {f'{count} tiles' if count else 'no tiles'} | {peak:.2f} GB |"


def reading(n: int, folder: Path) -> Iterator[str]:
    """Shuffled batches from one fold, and from a family over two folds."""
    files = write_family(folder, {1: n, 2: n})
    with ExitStack() as stack:
        fold = stack.enter_context(open_features(files.features[0]))
        family = stack.enter_context(open_family(*files))

        def tokens(rows: np.ndarray) -> None:
            read_tokens(family.features, rows, view=0, blocks=(0,))

        reads: dict[str, tuple[int, Callable[[np.ndarray], object]]] = {
            f"tokens, shuffled batches of {READ_BATCH}, one fold": (
                n,
                lambda rows: read_tokens(fold, rows, view=0, blocks=(0,)),
            ),
            "the same from a family over two folds": (2 * n, tokens),
            "the same with images and ground truth": (
                2 * n,
                lambda rows: (tokens(rows), read_tiles(family.tiles, rows)),
            ),
        }
        for name, (count, read) in reads.items():
            yield f"| {name} | {read_rate(read, count):.0f} tiles/s |"


def read_rate(read: Callable[[np.ndarray], object], n: int) -> float:
    """Tiles per second of processor time, in the second pass: the first one warms the cache."""
    rng = np.random.default_rng(0)
    for _ in range(2):
        plan = shuffled_rows(np.arange(n), READ_BATCH, rng)
        start = time.process_time()
        for rows in plan:
            read(rows)
        taken = time.process_time() - start
    return n / taken


if __name__ == "__main__":
    main()
