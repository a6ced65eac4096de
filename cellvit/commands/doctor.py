"""Command `doctor`: say at once what a real run lacks: data, weights, token, GPU, memory, disk."""

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from cellvit.config.encoders import EncoderSettings
from cellvit.config.files import add_settings_arguments, given_settings
from cellvit.config.settings import Settings
from cellvit.data.pannuke import fold_files, read_patients, read_types
from cellvit.errors import CellvitError, MissingInputError, SettingsError
from cellvit.taxonomy import TILE_PX
from cellvit.workflow.gpu.assignment import in_use, lock_folder
from cellvit.workflow.gpu.listing import listed_gpus, visible_gpus

_TOKEN_BYTES: Final = 2
"""Tokens are float16."""

_TILE_BYTES: Final = TILE_PX**2 * 4
"""About what a prepared tile takes: image 3 bytes a pixel, compressed maps under 1."""

_PANNUKE_TILES: Final = 7901
"""Tiles of PanNuke's three folds; the estimate where no data are there yet."""

_HOST_GB: Final = 12
"""Memory that suffices for all of PanNuke at the defaults (docs/resources.md)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    state: Literal["ok", "note", "missing"]
    text: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_settings_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Print every finding; raise where one would stop the run."""
    settings = given_settings(args)
    findings = [look(settings) for look in _LOOKS]
    for finding in findings:
        sys.stdout.write(f"{finding.state:8}{finding.topic:9}{finding.text}\n")
    missing = [finding.topic for finding in findings if finding.state == "missing"]
    if missing:
        raise MissingInputError(f"the run would stop: {', '.join(missing)}. Mend what is listed above and call again.")
    sys.stdout.write("ready:  snakemake --cores all\n")


def _data(settings: Settings) -> Finding:
    if settings.data.simulated:
        return Finding("data", "note", "simulated: figures of this run say nothing about tissue")
    root = Path(settings.data.root or "")
    try:
        counts = {fold: _checked_tiles(root, fold) for fold in settings.data.folds}
    except CellvitError as error:
        return Finding("data", "missing", f"{error}\n{'':17}Official download: docs/pannuke.md")
    return Finding("data", "ok", ", ".join(f"fold {fold}: {count} tiles" for fold, count in counts.items()))


def _checked_tiles(root: Path, fold: int) -> int:
    files = fold_files(root, fold)
    n = len(read_types(files))
    read_patients(files, n)
    return n


def _weights(settings: Settings) -> Finding:
    encoder = settings.encoder
    if encoder.untrained:
        return Finding("weights", "note", "random: the encoder is untrained, and every result is marked so")
    if encoder.weights != "hub":
        exists = Path(encoder.weights).exists()
        return Finding(
            "weights", "ok" if exists else "missing", f"{encoder.weights}{'' if exists else ': no such file'}"
        )
    return _hub_weights(encoder)


def _hub_weights(encoder: EncoderSettings) -> Finding:
    from huggingface_hub import get_token, try_to_load_from_cache

    name = encoder.spec.name.removeprefix("hf-hub:")
    cached = [try_to_load_from_cache(name, file) for file in ("model.safetensors", "pytorch_model.bin")]
    if any(isinstance(path, str) for path in cached):
        return Finding("weights", "ok", f"{name} is in the cache")
    if os.environ.get("HF_HUB_OFFLINE"):
        return Finding("weights", "missing", f"{name} is not in the cache and HF_HUB_OFFLINE is set")
    if get_token() or encoder.spec.page is None:
        return Finding("weights", "ok", f"{name} will be downloaded (licence: {encoder.spec.licence})")
    return Finding(
        "weights",
        "missing",
        f"no token for {name}. Ask for access at {encoder.spec.page}, then `hf auth login` or set HF_TOKEN; "
        "or set encoder.weights to a local file",
    )


def _gpu(settings: Settings) -> Finding:
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 1e9
        return Finding("gpu", "ok", f"{torch.cuda.get_device_name(0)}, {memory:.0f} GB")
    if settings.device == "cuda":
        return Finding("gpu", "missing", "device: cuda is set, and torch sees no GPU")
    giant = settings.encoder.spec.depth >= 24  # blocks of the giant encoders
    hint = "; a giant encoder takes seconds a tile" if giant else ""
    return Finding("gpu", "note", f"none: everything runs on the CPU{hint}")


def _devices(_: Settings) -> Finding:
    """The GPUs that steps of this run may hold, and who holds them now."""
    try:
        folder = lock_folder(os.environ)
        if folder is None:
            return Finding("devices", "ok", "left to the scheduler, which binds them")
        gpus = visible_gpus(listed_gpus(), os.environ)
    except SettingsError as error:
        return Finding("devices", "missing", str(error))
    if not gpus:
        return Finding("devices", "note", "none that nvidia-smi lists and CUDA_VISIBLE_DEVICES allows")
    lines = in_use(gpus, folder)
    if len(gpus) > 1:
        lines.append("A step holds one; several at a time: snakemake --workflow-profile profiles/workstation")
    return Finding("devices", "ok", f"\n{'':17}".join(lines))


def _memory(_: Settings) -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return Finding("memory", "ok" if total >= _HOST_GB else "note", f"{total:.0f} GB ({_HOST_GB} GB suffice)")


def _disk(settings: Settings) -> Finding:
    wanted = _wanted_bytes(settings) / 1e9
    folder = Path(settings.results).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    return Finding(
        "disk",
        "ok" if free > wanted else "missing",
        f"{free:.0f} GB free, about {wanted:.1f} GB wanted in {settings.results}",
    )


def _wanted_bytes(settings: Settings) -> int:
    spec, grids = settings.encoder.spec, len(settings.stored_blocks) * settings.features.n_views
    tokens = (settings.features.input_px // spec.patch_px) ** 2 * spec.dim * grids * _TOKEN_BYTES
    return _n_tiles(settings) * (tokens + _TILE_BYTES)


def _n_tiles(settings: Settings) -> int:
    if settings.data.simulated:
        return len(settings.data.folds) * settings.data.simulated.tiles_per_fold
    paths = [fold_files(Path(settings.data.root or ""), fold).types for fold in settings.data.folds]
    return sum(len(np.load(path, allow_pickle=False)) for path in paths if path.is_file()) or _PANNUKE_TILES


_LOOKS: Final[tuple[Callable[[Settings], Finding], ...]] = (_data, _weights, _gpu, _devices, _memory, _disk)
