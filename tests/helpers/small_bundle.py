"""A small bundle: the encoder tiny-vit with random weights, and a narrow decoder that was trained on drawn discs.

The weights of the decoder, 50 KB, lie beside this file. `python tests/helpers/small_bundle.py` trains them again, which takes
a minute.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.formats.bundle import BundleDocument, checkpoint_name, watershed_name, write_bundle
from cellvit.formats.checkpoints import CheckpointHeader, write_checkpoint
from cellvit.formats.content import content_of
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.documents import write_document
from cellvit.formats.provenance import Provenance
from cellvit.formats.watershed import WatershedChoice
from cellvit.hover.encode import hv_maps
from cellvit.losses.hover import HoVerNetLoss
from cellvit.models.encoder import load_encoder
from cellvit.models.hovernet import HoVerNetDecoder

ENCODER = EncoderSettings(preset="tiny-vit", weights="random")
FEATURES = FeaturesSettings(views=("identity",))
ARCHITECTURE = {"widths": [8, 8, 8, 8, 8], "stem_widths": [8, 8], "dropout": 0.0, "token_dropout": 0.0}
ORIGIN = Provenance(data_set=PANNUKE, simulated=True, encoder_mark=ENCODER.mark)
STEPS = 120


def discs(height: int, width: int, seed: int, *, per_px: float = 1 / 900) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dark discs of two classes on a light ground: image, labels and classes of the pixels."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), (235, 200, 220), np.int16)
    labels, classes = np.zeros((height, width), np.int32), np.zeros((height, width), np.uint8)
    rows, columns = np.ogrid[:height, :width]
    for label in range(1, round(height * width * per_px) + 1):
        row, column, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(6, 11)
        number = int(rng.integers(1, 3))
        inside = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
        labels[inside], classes[inside] = label, number
        image[inside] = (90, 50, 140) if number == 1 else (40, 60, 60)
    noisy = (image + rng.integers(-12, 13, image.shape)).clip(0, 255).astype(np.uint8)
    return noisy, labels, classes


WEIGHTS = Path(__file__).with_name("small_decoder.safetensors")


def train() -> None:
    """Train the decoder and write its weights."""
    torch.manual_seed(0)
    encoder = load_encoder(ENCODER, FEATURES, "cpu")
    decoder = HoVerNetDecoder(encoder.dim, blocks=len(encoder.blocks), grid=encoder.grid, **ARCHITECTURE)
    loss_of = HoVerNetLoss()
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-2)
    for step in range(STEPS):
        drawn = [discs(256, 256, 1000 + 2 * step + number) for number in range(2)]
        image, labels, classes = (torch.from_numpy(np.stack(parts)) for parts in zip(*drawn, strict=True))
        tokens = encoder(image).tokens.clone()
        maps = decoder(tokens, image.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last))
        loss = loss_of(maps, labels, classes, hv_maps(labels))
        optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        optimizer.step()
    save_file(
        {
            key: (value.half() if value.is_floating_point() else value).contiguous()
            for key, value in decoder.state_dict().items()
        },
        WEIGHTS,
    )


def write_small_bundle(folder: Path, *, name: str = "Discs, split 1") -> Path:
    """Write the bundle of the trained decoder as the shared decoder of PanNuke's classes."""
    parts = folder.with_name(f"{folder.name}_parts")
    encoder = load_encoder(ENCODER, FEATURES, "cpu")
    architecture = {"dim": encoder.dim, "blocks": len(encoder.blocks), "grid": encoder.grid, "n_classes": 5}
    record = {"encoder": ENCODER.model_dump(mode="json"), "features": FEATURES.model_dump(mode="json")}
    header = CheckpointHeader(
        provenance=ORIGIN,
        kind="hovernet",
        split="1",
        family="all",
        status="trained",
        architecture={**architecture, **ARCHITECTURE},
        encoder={**record, "blocks": list(encoder.blocks)},
        classes=PANNUKE.class_names,
        mpp=PANNUKE.mpp,
        folds={"train": (1,), "validate": (2,)},
        step=STEPS,
    )
    weights = {key: value.astype("f4") if value.dtype == "f2" else value for key, value in load_file(WEIGHTS).items()}
    checkpoint, watershed = parts / checkpoint_name("all"), parts / watershed_name("all")
    write_checkpoint(checkpoint, header, weights)
    made_from = {checkpoint.name: content_of(checkpoint).digest}
    choice = WatershedChoice(
        provenance=ORIGIN.model_copy(update={"made_from": made_from}),
        split="1",
        family="all",
        status="default",
        reason="no validation tiles",
        method="hv_flow",
        parameters={},
    )
    write_document(watershed, choice)
    document = BundleDocument(
        provenance=ORIGIN,
        name=name,
        split="1",
        folds=header.folds,
        encoder=record,
        decoders={"all": PANNUKE.organs},
        decoder_of=dict.fromkeys(PANNUKE.organs, "all"),
        default_decoder="all",
        files={},
        licence="made in a test",
    )
    write_bundle(folder, document, {path.name: path for path in (checkpoint, watershed)}, "A bundle of a test.\n")
    return folder


def digest_of(path: Path) -> str:
    """Digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    train()
