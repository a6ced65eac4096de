"""Command `doctor`: check what a real run needs before it starts: data, weights, token, GPU, memory and disk space.

Example: cellvit doctor --configfile mine.yaml
"""

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from cellvit.config.encoders import PUBLISHED, EncoderSettings, FeaturesSettings
from cellvit.config.files import add_settings_arguments, given_settings
from cellvit.config.settings import Settings
from cellvit.data.own_data import is_own_data, read_own_data
from cellvit.data.pannuke import fold_files, read_names, read_types
from cellvit.errors import CellvitError, MissingInputError, SettingsError
from cellvit.formats.checkpoints import read_header
from cellvit.taxonomy import TILE_PX
from cellvit.workflow.data_set import data_set_of, settings_for
from cellvit.workflow.gpu import allowed_gpus, lock_folder, usage
from cellvit.workflow.graph import start_file
from cellvit.workflow.resources import TILES_OF_IMAGE

_TOKEN_BYTES: Final = 2
"""Tokens are float16."""

_TILE_BYTES: Final = TILE_PX**2 * 4
"""Approximate size of a prepared tile: the image has 3 bytes per pixel, the compressed maps less than 1."""

_MAP_BYTES: Final = TILE_PX**2 * 6
"""Maps of a validation tile of a decoder: NP and HV are float16, compressed classes take little."""

_FOLD_TILES: Final = 2634
"""Mean number of tiles of the three PanNuke folds, for the estimate where the data are missing."""

_HOST_GB: Final = 12
"""Memory that is enough for all of PanNuke with the default settings (docs/resources.md)."""

_INDENT: Final = " " * 15


@dataclass(frozen=True, slots=True)
class Check:
    """What was checked, what was found, and how to fix it; a run would stop at a fault."""

    topic: str
    state: Literal["ok", "note", "fault"]
    found: str
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.found}\nFix: {self.fix}" if self.fix else self.found
        return f"{self.state:6}{self.topic:9}" + text.replace("\n", f"\n{_INDENT}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_settings_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Print the result of every check.

    Raises:
        MissingInputError: A run would stop at one of them.
    """
    settings = given_settings(args)
    checks = [check(settings) for check in _CHECKS]
    sys.stdout.write("".join(f"{check}\n" for check in checks))
    faults = [check.topic for check in checks if check.state == "fault"]
    if faults:
        raise MissingInputError(
            f"a run would stop because of: {', '.join(faults)}. Apply the fixes above and try again."
        )
    sys.stdout.write("ready:  snakemake --cores all\n")


def _families(settings: Settings) -> Check:
    try:
        decoders = settings_for(settings, data_set_of(settings)).decoder_families
    except CellvitError as error:
        return Check("families", "fault", str(error), "follow the message above")
    return Check("families", "ok", ", ".join(decoders))


def _data(settings: Settings) -> Check:
    if settings.data.simulated:
        return Check("data", "note", "simulated: the values of this run say nothing about real tissue")
    root = Path(settings.data.root or "")
    if is_own_data(root):
        return _own_data(root)
    counts = []
    try:
        for fold in settings.data.folds:
            files = fold_files(root, fold)
            n = len(read_types(files))
            read_names(files, "patients", n)
            read_names(files, "sources", n)
            counts.append(f"fold {fold}: {n} tiles")
    except CellvitError as error:
        fix = "follow the message above; docs/pannuke.md describes the official download"
        return Check("data", "fault", str(error), fix)
    return Check("data", "ok", ", ".join(counts))


def _own_data(root: Path) -> Check:
    """What the two files of the data set say; images and annotations are opened by the run itself."""
    try:
        own = read_own_data(root)
    except CellvitError as error:  # its message has the fix
        return Check("data", "fault", str(error))
    classes = ", ".join(entry.name for entry in own.description.classes)
    found = f"{own.description.name}: {len(own.rows)} images, classes {classes}"
    return Check("data", "ok", f"{found}\nTo look at them:  python -m cellvit show {root}")


def _weights(settings: Settings) -> Check:
    encoder = settings.encoder
    if encoder.untrained:
        return Check("weights", "note", "random: the encoder is untrained, and every result says so")
    if encoder.weights == PUBLISHED:
        return _package_weights(encoder) if encoder.spec.package else _hub_weights(encoder)
    if Path(encoder.weights).exists():
        return Check("weights", "ok", encoder.weights)
    return Check("weights", "fault", f"{encoder.weights}: the file does not exist", "correct encoder.weights")


def _start(settings: Settings) -> Check:
    """The checkpoints that trainings start from."""
    names = sorted({start_file(settings, family) for family in settings.decoder_families} - {""})
    found, faults = [], []
    for name in names:
        try:
            if not Path(name).exists():
                raise MissingInputError(f"{name}: the file does not exist")
            header = read_header(Path(name))
            found.append(f"{name}: {header.kind} of family {header.family}, step {header.step}")
        except CellvitError as error:
            faults.append(str(error).partition("Fix:")[0].rstrip())
    if faults:
        return Check("start", "fault", "\n".join(faults), "set training.start_from to a checkpoint of this version")
    return Check("start", "ok", "\n".join(found) or "no training starts from a file")


def _package_weights(encoder: EncoderSettings) -> Check:
    from cellvit.models.weights import file_in_package

    try:
        file = file_in_package(encoder)
    except CellvitError as error:  # its message has the fix
        return Check("weights", "fault", str(error))
    mark = f"; {encoder.mark}, and every result says so" if encoder.mark else ""
    return Check("weights", "ok", f"{file.name} of the package {encoder.spec.package}{mark}")


def _hub_weights(encoder: EncoderSettings) -> Check:
    from huggingface_hub import get_token, try_to_load_from_cache

    name = encoder.spec.name.removeprefix("hf-hub:")
    cached = [try_to_load_from_cache(name, file) for file in ("model.safetensors", "pytorch_model.bin")]
    if any(isinstance(path, str) for path in cached):
        return Check("weights", "ok", f"{name} is in the cache of the Hugging Face hub")
    if os.environ.get("HF_HUB_OFFLINE"):
        found = f"{name} is not in the cache of the Hugging Face hub, and HF_HUB_OFFLINE is set"
        return Check("weights", "fault", found, "unset HF_HUB_OFFLINE, or set encoder.weights to a local file")
    if get_token() or encoder.spec.page is None:
        return Check("weights", "ok", f"{name} will be downloaded (licence: {encoder.spec.licence})")
    access = f"ask for access at {encoder.spec.page}, then run `hf auth login` or set HF_TOKEN"
    fix = f"{access}; or set encoder.weights to a local file"
    return Check("weights", "fault", f"no token of the Hugging Face hub to download {name}", fix)


def _gpu(settings: Settings) -> Check:
    import torch

    from cellvit.models.device import gpu_fault

    if not (fault := gpu_fault()):
        memory = torch.cuda.get_device_properties(0).total_memory / 1e9
        return Check("gpu", "ok", f"{torch.cuda.get_device_name(0)}, {memory:.0f} GB")
    if settings.device == "cuda":
        fix = "install the build of torch for your driver and card, or set device: auto"
        return Check("gpu", "fault", f"the setting is device: cuda, but {fault}", fix)
    giant = settings.encoder.spec.depth >= 24  # blocks of the giant encoders
    hint = "; a giant encoder takes seconds per tile there" if giant else ""
    found = f"none that torch can use ({fault}): everything is computed on the CPU{hint}"
    if settings.device == "auto" and _has_card():
        fix = "install the build of torch for your driver and card, or set device: cpu"
        return Check("gpu", "fault", f"{found}, although nvidia-smi lists a card", fix)
    return Check("gpu", "note", found)


def _has_card() -> bool:
    try:
        return bool(allowed_gpus())
    except SettingsError:  # reported by another check
        return False


def _devices(_: Settings) -> Check:
    """The GPUs that the steps of this run may use, and who uses them now."""
    folder = lock_folder()
    if folder is None:
        return Check("devices", "ok", "assigned by the scheduler")
    try:
        gpus = allowed_gpus()
    except SettingsError as error:  # its message has the fix
        return Check("devices", "fault", str(error))
    if not gpus:
        return Check("devices", "note", "none that nvidia-smi lists and CUDA_VISIBLE_DEVICES allows")
    lines = usage(gpus, folder)
    if len(gpus) > 1:
        lines.append("Each step uses one. To use several: snakemake --workflow-profile profiles/workstation")
    return Check("devices", "ok", "\n".join(lines))


def _memory(_: Settings) -> Check:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return Check("memory", "ok" if total >= _HOST_GB else "note", f"{total:.0f} GB ({_HOST_GB} GB are enough)")


def _disk(settings: Settings) -> Check:
    needed = _needed_bytes(settings) / 1e9
    folder = Path(settings.results).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    found = f"{free:.0f} GB free, about {needed:.1f} GB needed in {settings.results}"
    if free > needed:
        return Check("disk", "ok", found)
    fix = "free some space, or set results to a folder on a larger disk"
    if settings.features.n_views > 1:
        one = FeaturesSettings(**{**settings.features.model_dump(), "views": ("identity",), "colour_views": 0})
        least = _needed_bytes(settings.model_copy(update={"features": one})) / 1e9
        fix += f", or set features.views: [identity], which needs {least:.1f} GB and trains without flips and rotations"
    return Check("disk", "fault", found, fix)


def _needed_bytes(settings: Settings) -> int:
    spec, features = settings.encoder.spec, settings.features
    cells = (features.input_px // spec.patch_px) ** 2 * len(settings.stored_blocks) * features.n_views
    tokens = cells * spec.width(features.blocks) * _TOKEN_BYTES
    tiles = {fold: _fold_tiles(settings, fold) for fold in settings.data.folds}
    validated = sum(tiles[fold] for split in settings.splits.values() for fold in split.roles["validate"])
    n_maps = validated * (1 + settings.training.shared_decoder) * (1 + settings.watershed.average_views)
    n_maps *= 1 + len(settings.further_seeds)
    return sum(tiles.values()) * (tokens + _TILE_BYTES) + n_maps * _MAP_BYTES


def _fold_tiles(settings: Settings, fold: int) -> int:
    if settings.data.simulated:
        return settings.data.simulated.tiles_per_fold
    root = Path(settings.data.root or "")
    if is_own_data(root):
        return _own_tiles(root) // len(settings.data.folds)
    path = fold_files(root, fold).types
    return len(np.load(path, allow_pickle=False)) if path.is_file() else _FOLD_TILES


def _own_tiles(root: Path) -> int:
    """Tiles of a user's data set, assumed: their number is known once the images are cut."""
    try:
        return len(read_own_data(root).rows) * TILES_OF_IMAGE
    except CellvitError:  # reported by another check
        return 0


_CHECKS: Final[tuple[Callable[[Settings], Check], ...]] = (
    _families,
    _data,
    _weights,
    _start,
    _gpu,
    _devices,
    _memory,
    _disk,
)
