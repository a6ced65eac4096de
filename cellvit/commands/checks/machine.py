"""The machine that a run computes on: GPU, who uses it, memory and disk."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from cellvit.commands.checks.check import Check
from cellvit.config.encoders import FeaturesSettings
from cellvit.config.settings import Settings
from cellvit.config.strict import read_settings_file
from cellvit.data import npy
from cellvit.data.own_data import is_own_data, read_own_data
from cellvit.data.pannuke import fold_files
from cellvit.errors import CellvitError, SettingsError
from cellvit.formats.locks import grants_locks
from cellvit.namesake import namesake
from cellvit.taxonomy import TILE_PX
from cellvit.workflow.gpu import allowed_gpus, lock_folder, nvidia_smi, usage
from cellvit.workflow.output_folder import writable_folder
from cellvit.workflow.resources import TILES_OF_IMAGE, memory_mb, weights_mb

_TOKEN_BYTES: Final = 2
"""Tokens are float16."""

_TILE_BYTES: Final = TILE_PX**2 * 4
"""Approximate size of a prepared tile: the image has 3 bytes per pixel, the compressed maps less than 1."""

_MAP_BYTES: Final = TILE_PX**2 * 6
"""Maps of a validation tile of a decoder: NP and HV are float16, compressed classes take little."""

_FOLD_TILES: Final = {1: 2656, 2: 2523, 3: 2722}
"""Tiles of the three PanNuke folds, for estimates where the data are missing."""

_STEPS: Final = ("extract_features", "train_hovernet", "evaluate_family", "calibrate", "build_report")
"""Steps that need most memory."""


def check_packages(_: Settings) -> Check:
    """Whether another package of the same name is installed."""
    other = namesake()
    return (
        Check("packages", "fault", other.message)
        if other
        else Check("packages", "ok", "no other package is named cellvit")
    )


def check_gpu(settings: Settings) -> Check:
    """Whether torch can compute on a GPU, and else why not."""
    import torch

    from cellvit.models.device import gpu_fault, mps_fault

    if settings.device == "mps":
        if fault := mps_fault():
            return Check("gpu", "fault", f"the setting is device: mps, but {fault}", "set device: auto or cpu")
        return Check("gpu", "ok", "the GPU of this Mac (mps)")
    giant = settings.encoder.spec.depth >= 24  # blocks of the giant encoders
    hint = "; a giant encoder takes seconds per tile there" if giant else ""
    if settings.device == "cpu":
        return Check("gpu", "note", f"the setting is device: cpu: everything is computed on the CPU{hint}")
    if not (fault := gpu_fault()):
        memory = torch.cuda.get_device_properties(0).total_memory / 1e9
        major, minor = torch.cuda.get_device_capability(0)
        found = (
            f"{torch.cuda.get_device_name(0)}, {memory:.0f} GB, compute capability {major}.{minor}, driver {_driver()}"
        )
        return Check("gpu", "ok", f"{found}; torch {torch.__version__} is built for CUDA {torch.version.cuda}")
    if settings.device == "cuda":
        fix = "install the build of torch for your driver and card, or set device: auto"
        return Check("gpu", "fault", f"the setting is device: cuda, but {fault} (driver {_driver()})", fix)
    found = f"none that torch can use ({fault}): everything is computed on the CPU{hint}"
    if _has_card():
        fix = "install the build of torch for your driver and card, or set device: cpu"
        return Check("gpu", "fault", f"{found}, although nvidia-smi lists a card (driver {_driver()})", fix)
    return Check("gpu", "note", found, "set device: cpu if that is meant, or run on a machine with an NVIDIA GPU")


def _driver() -> str:
    """Version of the NVIDIA driver, as nvidia-smi says it."""
    answer = nvidia_smi("--query-gpu=driver_version", "--format=csv,noheader")
    return next(iter(answer.text.split()), "unknown") if answer.code == 0 else "unknown"


def _has_card() -> bool:
    try:
        return bool(allowed_gpus())
    except SettingsError:  # reported by another check
        return False


def check_devices(settings: Settings) -> Check:
    """The GPUs that the steps of this run may use, and who uses them now."""
    if settings.device in {"cpu", "mps"}:
        return Check("devices", "ok", f"no NVIDIA GPU is used, because the setting is device: {settings.device}")
    folder = lock_folder()
    if folder is None:
        return Check("devices", "ok", "assigned by the scheduler")
    try:
        gpus = allowed_gpus()
    except SettingsError as error:  # its message has the fix
        return Check("devices", "fault", str(error))
    if not gpus:
        return Check("devices", "note", f"none that nvidia-smi lists and CUDA_VISIBLE_DEVICES allows{_silence()}")
    lines = usage(gpus, folder)
    if len(gpus) > 1:
        lines.append("Each step uses one. To use several: snakemake --workflow-profile profiles/workstation")
    return Check("devices", "ok", "\n".join(lines))


def _silence() -> str:
    """What nvidia-smi says where it is installed and fails, as it does without a driver that works."""
    answer = nvidia_smi("-L")
    return f"; nvidia-smi fails: {answer.fault[:200]}" if answer.fault else ""


def check_memory(settings: Settings) -> Check:
    """Memory of the machine, and of the step that needs most with these settings."""
    spec = settings.encoder.spec
    n_tiles = sum(fold_tiles(settings, fold) for fold in settings.data.folds)
    needs = {name: memory_mb(name, n_tiles, weights_mb=weights_mb(spec.depth, spec.dim)) for name in _STEPS}
    name = max(_STEPS, key=needs.__getitem__)
    total, needed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, needs[name] / 1e3
    found = f"{total:.0f} GB; the step {name} needs at most {needed:.0f} GB (with CUDA)"
    if total >= needed:
        return Check("memory", "ok", found)
    return Check("memory", "note", found, "use a machine with more memory, or a smaller encoder (docs/encoders.md)")


def check_disk(settings: Settings) -> Check:
    """Space on the disk of the results for the products of this run."""
    needed = _needed_bytes(settings) / 1e9
    folder = writable_folder(Path(settings.results))
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


def check_locks(settings: Settings) -> Check:
    """Whether the disk of the results has locks, with which a second run on one folder is refused."""
    folder = writable_folder(Path(settings.results))
    try:
        granted = grants_locks(folder)
    except OSError as error:
        return Check(
            "locks", "fault", f"{folder}: cannot be written: {error.strerror}", "set results to a folder of yours"
        )
    if not granted:
        return Check("locks", "note", f"the disk of {folder} has none; files mark the processes instead")
    return Check("locks", "ok", f"the disk of {folder} has them")


def check_slurm(_: Settings) -> Check:
    """The partitions of SLURM, if there is one, and whether the profile names them."""
    if shutil.which("sinfo") is None:
        return Check("slurm", "ok", "none on this machine")
    done = subprocess.run(["sinfo", "-h", "-o", "%P %a"], capture_output=True, text=True, timeout=60, check=False)
    up = {line.split()[0].rstrip("*") for line in done.stdout.splitlines() if line.endswith(" up")}
    if done.returncode or not up:
        return Check(
            "slurm", "note", f"sinfo names no partition that is up: {(done.stderr or done.stdout).strip()[:200]}"
        )
    try:
        wanted = _partitions_of_profile()
    except (CellvitError, AttributeError, TypeError) as error:
        message = str(error).splitlines()[0]
        return Check("slurm", "fault", f"profiles/slurm/config.yaml cannot be read: {message}", "correct that file")
    if missing := sorted(wanted - up):
        return Check(
            "slurm",
            "note",
            f"profiles/slurm names the partitions {', '.join(missing)}, and those that are up are {', '.join(sorted(up))}",
            "edit slurm_partition in profiles/slurm/config.yaml (docs/clusters.md)",
        )
    return Check("slurm", "ok", f"partitions {', '.join(sorted(up))}")


def _partitions_of_profile() -> set[str]:
    profile = Path("profiles/slurm/config.yaml")
    if not profile.is_file():
        return set()
    fields = read_settings_file(profile)
    resources = [fields.get("default-resources", {}), *fields.get("set-resources", {}).values()]
    return {entry["slurm_partition"] for entry in resources if "slurm_partition" in entry}


def _needed_bytes(settings: Settings) -> int:
    spec, features = settings.encoder.spec, settings.features
    cells = (features.input_px // spec.patch_px) ** 2 * len(settings.stored_blocks) * features.n_views
    tokens = cells * spec.width(features.blocks) * _TOKEN_BYTES
    tiles = {fold: fold_tiles(settings, fold) for fold in settings.data.folds}
    validated = sum(tiles[fold] for split in settings.splits.values() for fold in split.roles["validate"])
    n_maps = validated * (1 + settings.training.shared_decoder) * (1 + settings.watershed.average_views)
    n_maps *= 1 + len(settings.further_seeds)
    return sum(tiles.values()) * (tokens + _TILE_BYTES) + n_maps * _MAP_BYTES


def fold_tiles(settings: Settings, fold: int) -> int:
    """Tiles of a fold, as far as they can be counted before it is prepared; else those of PanNuke's fold."""
    if settings.data.simulated:
        return settings.data.simulated.tiles_per_fold
    root = Path(settings.data.root or "")
    if is_own_data(root):
        return _own_tiles(root) // len(settings.data.folds)
    try:
        return len(npy.open_array(fold_files(root, fold).types))
    except (CellvitError, TypeError):  # missing, damaged or a single name: reported by another check
        return _FOLD_TILES.get(fold, _FOLD_TILES[1])


def _own_tiles(root: Path) -> int:
    """Tiles of a user's data set, assumed: their number is known once the images are cut."""
    try:
        return len(read_own_data(root).rows) * TILES_OF_IMAGE
    except CellvitError:  # reported by another check
        return 0
