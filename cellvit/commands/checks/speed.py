"""How fast this machine computes what a run repeats for each tile, measured in about 20 seconds without any data or weights.

The encoder and the decoder are those of the settings with other weights, which compute as long; nothing is downloaded. On a CPU
the processor time of one thread is measured, so that other work on the machine does not count.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Final, cast

import numpy as np
import torch
from jaxtyping import Int64

from cellvit.config.settings import Settings
from cellvit.data.simulate.fold import Plan, make_tile
from cellvit.hover.decode import segment
from cellvit.hover.encode import hv_maps
from cellvit.inference.passes import block_size
from cellvit.losses.hover import HoVerNetLoss
from cellvit.models.device import autocast, resolve_device
from cellvit.models.encoder import Encoder
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.models.weights import LoadedModel, create_model
from cellvit.taxonomy import TILE_PX
from cellvit.training.loop import adamw

_SECONDS: Final = 3.5
"""Time for each of five measurements; a single pass may take longer."""

_CPU_TILES: Final = 2
"""Tiles of a training step that is measured on a CPU, where each tile takes as long in a larger batch."""

_PREFIX: Final = 5
"""CLS and registers: tokens of a vision transformer beside the grid."""

_WEIGHT: Final = 0.01
"""Value of all weights of the measured encoder: no random numbers are needed for a billion of them."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds per tile, on one GPU or on one thread of the processor.

    Attributes:
        device: What computes, as torch names it: "cuda" or "cpu".
        encode_s: Of the encoder, for each view of a tile.
        train_s: Of a training step of a decoder, for each of its tiles.
        forward_s: Of a decoder alone.
        decode_s: Of the decoding by the watershed, always on a thread of the processor.
        start_s: Of starting a step, once for each job.
    """

    device: str
    encode_s: float
    train_s: float
    forward_s: float
    decode_s: float
    start_s: float


def measured_speed(settings: Settings) -> Speed:
    """Measure this machine, in about 20 seconds."""
    device, n_threads = resolve_device(settings.device), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        encoder = _encoder(settings, device)
        encode_s = _encoding(encoder, settings)
        train_s, forward_s = _decoder(settings, encoder)
        return Speed(device.type, encode_s, train_s, forward_s, _decoding(), _start())
    finally:
        torch.set_num_threads(n_threads)


def _encoder(settings: Settings, device: torch.device) -> Encoder:
    """The encoder of the settings with one value for all weights; a vision transformer with one block alone."""
    spec, features = settings.encoder.spec, settings.features
    depth = {} if spec.levels else {"depth": 1}
    with torch.device("meta"):
        model = create_model(spec.architecture, spec, **depth)
    model = model.to_empty(device=device)
    for values in (*model.parameters(), *model.buffers()):
        values.data.fill_(_WEIGHT)
    if depth:
        spec, features = spec.model_copy(update=depth), features.model_copy(update={"blocks": None})
    encoder = Encoder(LoadedModel(model, None), spec, features).to(device)
    for module in encoder.model.modules():  # as `load_encoder`
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            module.to(encoder.dtype)
    return encoder


def _encoding(encoder: Encoder, settings: Settings) -> float:
    """Seconds of a tile: of the model, and of each further block of a vision transformer, which all take the same time."""
    spec, device = settings.encoder.spec, encoder.device
    n_tiles = 1 if device.type == "cpu" else block_size(encoder, settings.features.n_views, None)
    images = torch.zeros((n_tiles, TILE_PX, TILE_PX, 3), dtype=torch.uint8, device=device)
    seconds = _seconds(lambda: encoder.encoded(encoder.prepared(images)), device)
    if not spec.levels:
        blocks = cast(torch.nn.Module, encoder.model.blocks)
        tokens = torch.zeros((n_tiles, encoder.grid**2 + _PREFIX, spec.dim), device=device)

        @torch.inference_mode()
        def block() -> None:
            with torch.autocast(device.type, encoder.dtype, enabled=encoder.dtype != torch.float32):
                blocks(tokens)

        seconds += (spec.depth - 1) * _seconds(block, device)
    return seconds / n_tiles


def _decoder(settings: Settings, encoder: Encoder) -> tuple[float, float]:
    """Seconds of a tile in a training step, and in a forward pass."""
    device = encoder.device
    n_tiles = _CPU_TILES if device.type == "cpu" else settings.training.batch_size
    decoder = HoVerNetDecoder(
        encoder.dim,
        blocks=len(settings.decoder.blocks or settings.stored_blocks),
        grid=encoder.grid,
        **settings.decoder.model_dump(mode="json", exclude={"blocks"}),
    ).to(device)
    loss = HoVerNetLoss(**settings.training.loss.model_dump(exclude={"class_weights"})).to(device)
    optimizer = adamw((decoder, loss), learning_rate=1e-6, weight_decay=0)
    tokens = torch.zeros((n_tiles, *decoder.token_shape), dtype=torch.float16, device=device)
    image = torch.zeros((n_tiles, 3, TILE_PX, TILE_PX), device=device) if decoder.reads_image else None
    instances = torch.as_tensor(_instances(), device=device).expand(n_tiles, -1, -1).contiguous()
    classes = (instances > 0).to(torch.uint8)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(device, settings.training.precision):
            maps = decoder(tokens, image)
        loss(maps, instances, classes, hv_maps(instances)).total.backward()
        optimizer.step()

    @torch.inference_mode()
    def forward() -> None:
        with autocast(device):
            decoder(tokens, image)

    return _seconds(step, device) / n_tiles, _seconds(forward, device) / n_tiles


def _decoding() -> float:
    instances = _instances()
    hv = hv_maps(torch.as_tensor(instances)[None])[0].numpy()
    np_prob = (instances > 0).astype(np.float32)
    return _seconds(lambda: segment(np_prob, hv), torch.device("cpu"))


def _instances() -> Int64[np.ndarray, "256 256"]:
    """Instance map of a simulated tile."""
    masks = make_tile(Plan("Colon", empty=False), 1, 0, seed=0).masks[..., :-1]
    return np.asarray(masks.max(-1), np.int64)


def _start() -> float:
    """Processor seconds until a step that loads torch can begin."""
    command = [sys.executable, "-c", "import cellvit.stages.train_hovernet"]
    before = _children_s()
    subprocess.run(command, check=False, capture_output=True, timeout=120)
    return _children_s() - before


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call: the mean of as many as fit the time, without the first, which warms up, if there are others."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    end, taken = time.perf_counter() + _SECONDS, list[float]()
    while not taken or time.perf_counter() < end:
        started = clock()
        call()
        if device.type != "cpu":
            torch.accelerator.synchronize()
        taken.append(clock() - started)
    return fmean(taken[1:] or taken)
