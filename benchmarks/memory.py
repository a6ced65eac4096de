"""Memory of the training of a decoder: that of the host is measured, that of the device is a sum of measured parts.

    python benchmarks/memory.py [--tiles 64 512] [--batch 16]

Host: the step `train_hovernet` trains one epoch of a narrow decoder on the CPU, for several numbers of tiles with tokens
in the layout of H-optimus-0 (16 x 16 tokens of 1,536). Device: the size of parameters, gradients, AdamW's moments and
inputs is counted; the activations that autograd stores for the backward pass are measured on the CPU and scaled to the
batch. No GPU is needed.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from stores import DIM, GRID, peak_gb, write_family

from cellvit.config.models import DecoderSettings, TrainingSettings
from cellvit.config.steps import TrainHovernetSettings
from cellvit.hover.encode import hv_maps
from cellvit.losses.hover import HoVerNetLoss
from cellvit.models.hovernet import HoVerNetDecoder

TRAIN, VALIDATE = 1, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, nargs="+", default=[64, 512], help="numbers of training tiles to compare")
    parser.add_argument("--batch", type=int, default=16, help="tiles per training step")
    args = parser.parse_args()
    print("Host: peak memory of one epoch of train_hovernet on the CPU, narrow decoder", flush=True)
    for n in args.tiles:
        print_host(n, args.batch)
    print_device(args.batch)


def print_host(n: int, batch: int) -> None:
    settings = TrainHovernetSettings(
        decoder=DecoderSettings(widths=(32, 16, 8, 8, 8), stem_widths=(4, 8)),
        training=TrainingSettings(epochs=1, min_steps=0, batch_size=batch),
        seed=0,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        family = write_family(folder, {TRAIN: n, VALIDATE: 8})
        stored = sum(path.stat().st_size for paths in family for path in paths) / 1e9
        peak = peak_gb(
            folder,
            "train_hovernet",
            **family._asdict(),
            settings=settings.model_dump_json(by_alias=True),
            split="1",
            family="benchmark",
            train_folds=TRAIN,
            validate_folds=VALIDATE,
            checkpoint=folder / "decoder.safetensors",
            history=folder / "history.csv",
            maps=folder / "maps.h5",
            device="cpu",
        )
    print(f"  {n:6d} training tiles ({stored:.2f} GB of stores): {peak:.2f} GB", flush=True)


def print_device(batch: int) -> None:
    """Print what the default decoder needs on a device in training."""
    defaults = DecoderSettings()
    decoder = HoVerNetDecoder(
        DIM, grid=GRID, widths=defaults.widths, image_stem=defaults.image_stem, stem_widths=defaults.stem_widths
    ).train()
    parameters = sum(parameter.numel() for parameter in decoder.parameters())
    few = 2
    activations = activation_bytes(decoder, few) / few * batch
    weights = parameters * 4 * 4
    inputs = batch * (GRID * GRID * DIM * 2 + 256 * 256 * (3 + 4 + 1) + 2 * 256 * 256 * 4)
    print(f"Device: default decoder with image stem, {parameters / 1e6:.2f} M parameters, batch {batch}, float32")
    print(f"  parameters, gradients, AdamW's two moments: {weights / 1e9:.3f} GB")
    print(f"  inputs, targets and HV of a batch:          {inputs / 1e9:.3f} GB")
    print(f"  activations for the backward pass:          {activations / 1e9:.2f} GB (about half under autocast)")
    print(f"  sum:                                        {(weights + inputs + activations) / 1e9:.2f} GB")


def activation_bytes(decoder: HoVerNetDecoder, b: int) -> int:
    """Bytes of the distinct tensors that autograd stores for the backward pass of a batch of `b` tiles."""
    sizes: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    instances = torch.zeros(b, 256, 256, dtype=torch.int32)
    instances[:, 50:90, 50:90] = 1
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        maps = decoder(torch.zeros(b, 1, GRID, GRID, DIM), torch.zeros(b, 3, 256, 256))
        parts = HoVerNetLoss()(maps, instances, (instances > 0).long(), hv_maps(instances))
    assert parts.total.requires_grad  # until here, no tensor is freed, and no address is used twice
    return sum(sizes.values())


if __name__ == "__main__":
    main()
