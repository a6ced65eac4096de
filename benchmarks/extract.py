"""Extraction beside the bare forward pass of the same model, its memory, and reading back what it wrote.

    python benchmarks/extract.py [--presets tiny-vit h0-mini] [--tiles 2048 32] [--out docs/benchmarks.md]
    python benchmarks/extract.py --presets h-optimus-0 --tiles 4096                    # on a GPU

In turns: the bare forward pass on prepared tiles that lie on the device, the same with resizing and normalising, the whole
extraction without writing, and with writing into a store. The share is that of the bare pass in the same turn, so that
what else the machine does counts for both. On a GPU the rate of a large matrix product in the same arithmetic stands
beside the encoder's. Peak memory is that of the stage in a process of its own, on two sizes of data. Reading is shuffled
batches of 16 from stores in H-optimus-0's layout, from a warm cache, in processor time of one thread.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.config.steps import ExtractFeaturesSettings
from cellvit.formats.family import FAMILY_FEATURES, Member, write_family
from cellvit.formats.features import (
    FEATURES,
    FeatureBatch,
    append_features,
    open_family_features,
    open_features,
    read_tokens,
)
from cellvit.formats.hdf5 import Store, as_names
from cellvit.formats.writing import writing
from cellvit.formats.partial import Unfinished, continuing
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import TILES, TileBatch, append_tiles, open_tiles
from cellvit.inference.background import Background
from cellvit.inference.features import Extraction
from cellvit.models.device import resolve_device
from cellvit.models.encoder import Encoder, load_encoder

DIM, GRID, READ_BATCH = 1536, 16, 16
"""Layout of H-optimus-0 at 224 px, and tiles that a training step reads."""

SECTION = ("<!-- tables of benchmarks/extract.py -->", "<!-- end of tables of benchmarks/extract.py -->")
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
_MATMUL = 8192


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["tiny-vit"], help="encoders")
    parser.add_argument("--weights", default="random", help="hub, random or a file; random ones compute as fast")
    parser.add_argument("--tiles", type=int, nargs="+", default=[1024], help="tiles a turn, for each encoder")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--read-tiles", type=int, default=512, help="tiles of each of two stores that are read")
    parser.add_argument("--out", type=Path, help="page whose tables are replaced; printed where not given")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for preset, n in zip(args.presets, args.tiles, strict=True):
            settings = ExtractFeaturesSettings(
                encoder=EncoderSettings(preset=preset, weights=args.weights), features=FeaturesSettings()
            )
            lines += [f"Encoder {preset}, {n} tiles a turn:", "", *speed(settings, args, n, Path(folder))]
            lines += [*memory(settings, args, n, Path(folder)), ""]
        lines += ["| reading from a warm cache | |", "|---|--:|", *reading(args, Path(folder))]
    text = "\n".join([*machine(args), "", *lines, *missing(args)])
    if args.out is None:
        print(text)
    else:
        replace_tables(args.out, text)


def machine(args: argparse.Namespace) -> list[str]:
    device = resolve_device(args.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {args.threads} thread of torch"
    return [f"{name}; torch {torch.__version__}; median of {args.turns} turns."]


def write_tiles(path: Path, n: int) -> Path:
    rng, blank = np.random.default_rng(0), np.zeros((1, 256, 256), np.int32)
    with writing(path, TILES, n, {}, Provenance()) as writer:
        for row in range(n):
            image = rng.integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
            append_tiles(writer, TileBatch(image, blank, blank.astype(np.uint8), ("Colon",), (f"f1-{row:05d}",)))
    return path


def speed(settings: ExtractFeaturesSettings, args: argparse.Namespace, n: int, folder: Path) -> list[str]:
    encoder = load_encoder(settings.encoder, settings.features, resolve_device(args.device))
    with open_tiles(write_tiles(folder / "speed.h5", n)) as tiles:
        extraction = Extraction(encoder, tiles, settings.features)
        images = torch.from_numpy(tiles.read("image", np.arange(min(extraction.block_size, n))))
        images = images.to(encoder.device)
        prepared = encoder.prepared(images)
        passes = n // len(images)
        timed: dict[str, Callable[[], object]] = {
            "bare forward pass, tiles prepared and resident": lambda: [
                encoder.encoded(prepared) for _ in range(passes)
            ],
            "forward pass with resizing, tiles resident": lambda: [encoder(images) for _ in range(passes)],
            "extraction without writing": lambda: list(map(len, extraction.blocks(range(n)))),
            "extraction with writing": lambda: extract_to(folder / "speed_features.h5", extraction, tiles, encoder),
        }
        done = {name: n if "extraction" in name else passes * len(images) for name in timed}
        rates: dict[str, list[float]] = {name: [] for name in timed}
        busy: dict[str, list[float]] = {name: [] for name in timed}
        for name in timed:
            seconds(timed[name], encoder)  # warm
        for _ in range(args.turns):
            for name, work in timed.items():
                processor = time.process_time()
                rates[name].append(done[name] / seconds(work, encoder))
                busy[name].append(1e3 * (time.process_time() - processor) / done[name])
    bare, resident = (np.array(rates[name]) for name in list(timed)[:2])
    rows = [
        f"| {name} | {np.median(found):.1f} tiles/s | {100 * np.median(np.array(found) / bare):.0f} % "
        f"| {100 * np.median(np.array(found) / resident):.0f} % | {np.median(busy[name]):.2f} ms |"
        for name, found in rates.items()
    ]
    head = ["| | rate | of the bare pass | of that with resizing | processor time a tile |", "|---|--:|--:|--:|--:|"]
    others = [f"| tiles a block | {extraction.block_size} |", *matrix_rate(encoder, float(np.median(bare)))]
    return [*head, *rows, "", "| | |", "|---|--:|", *others]


def seconds(work: Callable[[], object], encoder: Encoder) -> float:
    start = time.perf_counter()
    work()
    if encoder.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def extract_to(path: Path, extraction: Extraction, tiles: Store, encoder: Encoder) -> None:
    sizes = {"views": 1, "taps": len(encoder.taps), "g": encoder.grid, "dim": encoder.dim}
    with (
        continuing(Unfinished(path, FEATURES, len(tiles), sizes, {}), Provenance()) as writer,
        Background[FeatureBatch](lambda batch: append_features(writer, batch)) as behind,
    ):
        for batch in extraction.blocks(range(len(tiles))):
            behind.put(batch)


def matrix_rate(encoder: Encoder, tiles_per_s: float) -> list[str]:
    """Arithmetic of the bare pass beside that of one large matrix product; on a GPU alone."""
    if encoder.device.type != "cuda":
        return []
    a, b = (torch.randn(_MATMUL, _MATMUL, device=encoder.device, dtype=encoder.dtype) for _ in range(2))
    for _ in range(3):
        a @ b
    torch.cuda.synchronize()
    repeats = 20
    card = repeats * 2 * _MATMUL**3 / seconds(lambda: [a @ b for _ in range(repeats)], encoder)
    own = tiles_per_s * operations(encoder)
    return [
        f"| {_MATMUL} x {_MATMUL} matrix product in {encoder.dtype} | {card / 1e12:.0f} TFLOP/s |",
        f"| bare forward pass | {own / 1e12:.0f} TFLOP/s, {100 * own / card:.0f} % of that |",
        f"| peak device memory | {torch.cuda.max_memory_allocated() / 1e9:.2f} GB |",
    ]


def operations(encoder: Encoder) -> float:
    """Multiplications and additions of a tile: matrices on every token, and attention."""
    matrices = sum(m.weight.numel() for m in encoder.vit.modules() if isinstance(m, torch.nn.Linear))
    tokens = encoder.grid**2 + encoder.vit.num_prefix_tokens
    return 2.0 * tokens * matrices + 4.0 * tokens**2 * encoder.dim * len(encoder.vit.blocks)


def memory(settings: ExtractFeaturesSettings, args: argparse.Namespace, n: int, folder: Path) -> list[str]:
    """Peak host memory of the stage on two sizes of data, and of loading the model alone."""
    rows = [
        f"| peak host memory, encoder loaded and nothing else | {host_peak(settings, args, folder, 0) / 1e9:.2f} GB |"
    ]
    for count in (n, 8 * n):
        peak = host_peak(settings, args, folder, count) / 1e9
        rows.append(f"| peak host memory of `extract_features`, {count} tiles | {peak:.2f} GB |")
    return rows


def host_peak(settings: ExtractFeaturesSettings, args: argparse.Namespace, folder: Path, n: int) -> int:
    tiles = write_tiles(folder / f"memory{n}.h5", n)
    options = [
        "--tiles",
        tiles,
        "--features",
        folder / f"features{n}.h5",
        "--device",
        args.device,
        "--threads",
        args.threads,
    ]
    program = (
        "import resource, sys; from cellvit.__main__ import main; code = main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    )
    command = [sys.executable, "-c", program, "extract_features", "--settings", settings.model_dump_json(by_alias=True)]
    done = subprocess.run([*command, *map(str, options)], capture_output=True, text=True, check=True)
    tiles.unlink()
    return int(done.stdout.split()[-1]) * _RSS_UNIT


def reading(args: argparse.Namespace, folder: Path) -> list[str]:
    """Shuffled batches from a fold and through a family over two folds."""
    rng, n = np.random.default_rng(0), args.read_tiles
    block = rng.standard_normal((READ_BATCH, 1, 1, GRID, GRID, DIM), dtype=np.float32).astype(np.float16)
    sizes = {"views": 1, "taps": 1, "g": GRID, "dim": DIM}
    for fold in (1, 2):
        with writing(folder / f"read{fold}.h5", FEATURES, n, sizes, Provenance()) as writer:
            for start in range(0, n, READ_BATCH):
                b = min(READ_BATCH, n - start)
                append_features(writer, FeatureBatch(np.zeros((b, 1, DIM), np.float32), block[:b]))
    stores = [open_features(folder / f"read{fold}.h5") for fold in (1, 2)]
    members = [
        Member(fold, store, np.sort(rng.permutation(n)[: n // 2])) for fold, store in zip((1, 2), stores, strict=True)
    ]
    of_family = sum(len(member.rows) for member in members)
    names = {column: as_names(("",) * of_family, "S16") for column in ("organ", "tile_id")}
    origin = Provenance(settings={"family": "all"}, made_from={"fold1": "", "fold2": ""})
    write_family(folder / "family.h5", FAMILY_FEATURES, members, names, origin)
    with open_family_features(folder / "family.h5") as family:
        return [
            f"| reading, shuffled batches of {READ_BATCH}, one fold | {read_rate(stores[0], rng):.0f} tiles/s |",
            f"| the same through a family over two folds | {read_rate(family, rng):.0f} tiles/s |",
        ]


def read_rate(store: Store, rng: np.random.Generator) -> float:
    """Tiles a second of processor time, in the second pass over the store: the first warms the cache."""
    for _ in range(2):
        order = rng.permutation(len(store))
        start = time.process_time()
        for position in range(0, len(store), READ_BATCH):
            read_tokens(store, order[position : position + READ_BATCH], view=0, taps=(0,))
        taken = time.process_time() - start
    return len(store) / taken


def missing(args: argparse.Namespace) -> list[str]:
    if resolve_device(args.device).type == "cuda":
        return [
            "",
            f"Peak of this program: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT / 1e9:.2f} GB.",
        ]
    return [
        "",
        "Not measured, for want of a GPU: rates and memory of a device, copies to and from it, its matrix rate.",
    ]


def replace_tables(page: Path, text: str) -> None:
    before, _, rest = page.read_text(encoding="utf-8").partition(SECTION[0])
    _, _, after = rest.partition(SECTION[1])
    page.write_text(f"{before}{SECTION[0]}\n\n{text}\n\n{SECTION[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
