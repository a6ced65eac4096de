"""Peak memory of training: the host's, measured on two sizes of data, and the device's, as a sum of measured parts.

    python benchmarks/memory.py [--tiles 64 512] [--batch 16]

Stores with H-optimus-0's layout (16 x 16 tokens of 1,536) and random content are written to a temporary folder; the real
stage `train_hovernet` runs one epoch on them in a process of its own. The device's memory is not that of a GPU (this runs
anywhere): parameters, gradients and AdamW's moments are counted, and the tensors that autograd keeps for the backward
pass are measured by hooks and scaled to the batch.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from cellvit.config.models import DecoderSettings, TrainingSettings
from cellvit.formats.family import FAMILY_FEATURES, FAMILY_TARGETS, Member, write_family
from cellvit.formats.features import FEATURES, FeatureBatch, append_features, open_features
from cellvit.formats.hdf5 import as_names
from cellvit.formats.writing import writing
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import TILES, TileBatch, append_tiles, open_tiles
from cellvit.hover.encode import hv_maps
from cellvit.losses.hover import HoVerNetLoss
from cellvit.models.hovernet import HoVerNetDecoder

DIM, GRID = 1536, 16
FOLDS = (1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, nargs="+", default=[64, 512], help="tiles of the training fold")
    parser.add_argument("--batch", type=int, default=16, help="tiles a step")
    args = parser.parse_args()
    print("Host: peak resident memory of one epoch of `train_hovernet`, narrow decoder, on the CPU")
    for n in args.tiles:
        with tempfile.TemporaryDirectory() as folder:
            stores = write_stores(Path(folder), n)
            print(
                f"  {n:6d} training tiles ({stores / 1e9:.2f} GB of stores): {host_peak(Path(folder), args.batch) / 1e9:.2f} GB"
            )
    device_sum(args.batch)


def write_stores(folder: Path, n: int) -> int:
    """Two folds and a family over them; bytes on disk."""
    rng = np.random.default_rng(0)
    instances = np.zeros((1, 256, 256), np.int32)
    for label, (row, column) in enumerate(np.ndindex(5, 5), 1):
        instances[0, 20 + 45 * row : 42 + 45 * row, 20 + 45 * column : 42 + 45 * column] = label
    for fold, count in zip(FOLDS, (n, 8), strict=True):
        ids = tuple(f"f{fold}-{row:05d}" for row in range(count))
        with writing(folder / f"tiles{fold}.h5", TILES, count, {}, Provenance()) as writer:
            for tile_id in ids:
                image = rng.integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
                append_tiles(
                    writer, TileBatch(image, instances, (instances > 0).astype(np.uint8), ("Colon",), (tile_id,))
                )
        sizes = {"views": 1, "taps": 1, "g": GRID, "dim": DIM}
        with writing(folder / f"features{fold}.h5", FEATURES, count, sizes, Provenance(settings=_encoder())) as writer:
            for _ in ids:
                tokens = rng.standard_normal((1, 1, 1, GRID, GRID, DIM), dtype=np.float32).astype(np.float16)
                append_features(writer, FeatureBatch(rng.standard_normal((1, 1, DIM), dtype=np.float32), tokens))
    for kind, fmt, opened in (("tiles", FAMILY_TARGETS, open_tiles), ("features", FAMILY_FEATURES, open_features)):
        made_from = {f"fold{fold}": "0" * 64 for fold in FOLDS}
        origin = Provenance(made_from=made_from, settings={"family": "digestive", **_encoder()})
        stores = [opened(folder / f"{kind}{fold}.h5") for fold in FOLDS]
        members = [Member(fold, store, np.arange(len(store))) for fold, store in zip(FOLDS, stores, strict=True)]
        names = {
            "organ": as_names(("Colon",) * (n + 8), "S16"),
            "tile_id": as_names(tuple(f"f0-{row:05d}" for row in range(n + 8)), "S16"),
        }
        write_family(folder / f"family_{kind}.h5", fmt, members, names, origin)
    return sum(path.stat().st_size for path in folder.glob("*.h5"))


def _encoder() -> dict[str, object]:
    return {"encoder": {"preset": "h-optimus-0"}, "features": {"taps": [39]}, "organs": ["Colon"]}


def host_peak(folder: Path, batch: int) -> int:
    """Peak resident bytes of the training stage and its workers."""
    settings = {
        "decoder": DecoderSettings(widths=(32, 16, 8, 8, 8), stem_widths=(4, 8)).model_dump(mode="json"),
        "training": TrainingSettings(epochs=1, bpq_every=1, batch_size=batch).model_dump(mode="json", by_alias=True),
        "seed": 0,
    }
    options = {
        "--settings": json.dumps(settings),
        "--split": "1",
        "--family": "digestive",
        "--train-folds": "1",
        "--validate-folds": "2",
        "--features": folder / "family_features.h5",
        "--targets": folder / "family_tiles.h5",
        "--checkpoint": folder / "out.safetensors",
        "--history": folder / "out.csv",
        "--code": "benchmark",
        "--device": "cpu",
        "--threads": "2",
    }
    program = (
        "import resource, sys; from cellvit.__main__ import main; code = main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    )
    arguments = [str(part) for pair in options.items() for part in pair]
    done = subprocess.run(
        [sys.executable, "-c", program, "train_hovernet", *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return int(done.stdout.split()[-1]) * _RSS_UNIT


_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def device_sum(batch: int) -> None:
    """Print what the default decoder holds on a device in training."""
    defaults = DecoderSettings()
    decoder = HoVerNetDecoder(
        DIM, grid=GRID, widths=defaults.widths, image_stem=defaults.image_stem, stem_widths=defaults.stem_widths
    ).train()
    parameters = sum(parameter.numel() for parameter in decoder.parameters())
    small = 2
    kept = saved_bytes(decoder, small) / small * batch
    weights = parameters * 4 * 4
    inputs = batch * (GRID * GRID * DIM * 2 + 256 * 256 * (3 + 4 + 1) + 2 * 256 * 256 * 4)
    print(f"Device: default decoder with image stem, {parameters / 1e6:.2f} M parameters, batch {batch}, float32")
    print(f"  parameters, gradients, AdamW's two moments: {weights / 1e9:.3f} GB")
    print(f"  inputs, targets and HV of a batch:          {inputs / 1e9:.3f} GB")
    print(f"  kept for the backward pass:                 {kept / 1e9:.2f} GB (about half under autocast)")
    print(f"  sum:                                        {(weights + inputs + kept) / 1e9:.2f} GB")


def saved_bytes(decoder: HoVerNetDecoder, b: int) -> int:
    """Bytes of the distinct tensors that autograd keeps for the backward pass of a batch of `b` tiles."""
    sizes: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    instances = torch.zeros(b, 256, 256, dtype=torch.int32)
    instances[:, 50:90, 50:90] = 1
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        maps = decoder(torch.zeros(b, 1, GRID, GRID, DIM), torch.zeros(b, 3, 256, 256))
        parts = HoVerNetLoss()(maps, instances, (instances > 0).long(), hv_maps(instances))
    assert parts.total.requires_grad
    return sum(sizes.values())


if __name__ == "__main__":
    main()
