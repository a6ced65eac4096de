"""What a run reads: families, data, weights of the encoder, and checkpoints that trainings start from."""

import os
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from cellvit.commands.checks.check import Check
from cellvit.config.encoders import PUBLISHED, EncoderSettings
from cellvit.config.settings import Settings
from cellvit.data.own_data import is_own_data, read_own_data
from cellvit.data.pannuke import fold_files, read_names, read_types
from cellvit.errors import CellvitError, ContractError, MissingInputError
from cellvit.formats.checkpoints import read_header
from cellvit.workflow.data_set import data_set_of, settings_for
from cellvit.workflow.start_file import start_file

_HUB_SECONDS: Final = 15
"""Time that the hub has to answer."""

_REFUSALS: Final = frozenset({401, 403, 404})
"""Status codes with which the hub refuses a repository: no token, no access, unknown (or private)."""


def check_families(settings: Settings) -> Check:
    """The families of the data set, each with a decoder."""
    try:
        decoders = settings_for(settings, data_set_of(settings)).decoder_families
    except CellvitError as error:
        return Check("families", "fault", str(error), "follow the message above")
    return Check("families", "ok", ", ".join(decoders))


def check_data(settings: Settings) -> Check:
    """Every fold that the settings name, or the two files of a data set of the user's own."""
    if settings.data.simulated:
        return Check("data", "note", "simulated: the values of this run say nothing about real tissue")
    root = Path(settings.data.root or "")
    if is_own_data(root):
        return _own_data(root)
    counts, faults = [], []
    for fold in settings.data.folds:
        try:
            counts.append(f"fold {fold}: {_n_tiles(root, fold)} tiles")
        except CellvitError as error:
            faults.append(str(error))
    if faults:
        fix = "follow the messages above; docs/pannuke.md describes the official download"
        return Check("data", "fault", "\n".join(faults), fix)
    return Check("data", "ok", ", ".join(counts))


def _n_tiles(root: Path, fold: int) -> int:
    """Tiles of a raw fold, whose files and names are checked."""
    files = fold_files(root, fold)
    n = len(read_types(files))
    read_names(files, "patients", n)
    read_names(files, "sources", n)
    if not n:
        raise ContractError(f"fold {fold}: {files.types}: expected tiles, found none. Fix: download the fold again")
    return n


def _own_data(root: Path) -> Check:
    """What the two files of the data set say; images and annotations are opened by the run itself."""
    try:
        own = read_own_data(root)
    except CellvitError as error:  # its message has the fix
        return Check("data", "fault", str(error))
    classes = ", ".join(entry.name for entry in own.description.classes)
    found = f"{own.description.name}: {len(own.rows)} images, classes {classes}"
    return Check("data", "ok", f"{found}\nTo look at them:  python -m cellvit show {shlex.quote(str(root))}")


def check_weights(settings: Settings) -> Check:
    """The weights of the encoder: opened where they are on this machine, else the hub is asked."""
    encoder = settings.encoder
    if encoder.untrained:
        return Check("weights", "note", "random: the encoder is untrained, and every result says so")
    if encoder.weights == PUBLISHED:
        return _package_weights(encoder) if encoder.spec.package else _hub_weights(encoder)
    return _local_weights(encoder)


def check_start(settings: Settings) -> Check:
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


def _local_weights(encoder: EncoderSettings) -> Check:
    from cellvit.models.weights import check_fit, weights_file

    try:
        file = weights_file(Path(encoder.weights))
        n_tensors = check_fit(encoder, file)
    except CellvitError as error:  # its message has the fix
        return Check("weights", "fault", str(error))
    return Check("weights", "ok", f"{file}: {n_tensors} tensors, {file.stat().st_size / 1e9:.2f} GB")


def _cached_weights(file: Path, name: str) -> Check:
    """Weights in the cache of the hub, whose names timm may translate; so they are only opened."""
    from cellvit.models.weights_file import described_weights

    try:
        n_tensors = len(described_weights(file))
    except CellvitError as error:  # its message has the fix
        return Check("weights", "fault", str(error))
    found = f"{name} in the cache of the Hugging Face hub: {n_tensors} tensors, {file.stat().st_size / 1e9:.2f} GB"
    return Check("weights", "ok", found)


def _hub_weights(encoder: EncoderSettings) -> Check:
    from huggingface_hub import constants, get_token, try_to_load_from_cache

    name, licence = encoder.spec.name.removeprefix("hf-hub:"), encoder.spec.licence
    for file in ("model.safetensors", "pytorch_model.bin"):
        if isinstance(path := try_to_load_from_cache(name, file), str):
            return _cached_weights(Path(path), name)
    if constants.HF_HUB_OFFLINE:
        found = f"{name} is not in the cache of the Hugging Face hub, and HF_HUB_OFFLINE is set"
        return Check("weights", "fault", found, "unset HF_HUB_OFFLINE, or set encoder.weights to a local file")
    access = f"ask for access at {encoder.spec.page}, then run `hf auth login` or set HF_TOKEN"
    fix = f"{access}; or set encoder.weights to a local file"
    if fault := _cache_fault(Path(constants.HF_HUB_CACHE)):
        return Check("weights", "fault", fault, "set HF_HOME to a folder in which you may write")
    token = get_token() or ""
    if not token and encoder.spec.page is not None:
        return Check("weights", "fault", f"no token of the Hugging Face hub to download {name}", fix)
    if not token.isascii() or any(sign in token for sign in " '\""):
        found = "the token of the Hugging Face hub has quotes, spaces or letters that no token has"
        return Check("weights", "fault", found, "set HF_TOKEN again, without quotes, or run `hf auth login`")
    answer = _answer_of_hub(name)
    if answer is None:
        found = f"{name} will be downloaded; the hub could not be asked whether the token suffices"
        return Check(
            "weights", "note", found, "connect to the internet and try again, or set encoder.weights to a local file"
        )
    if answer:
        return Check("weights", "fault", f"the Hugging Face hub refuses {name}: {answer}", fix)
    return Check("weights", "ok", f"{name} will be downloaded; the hub grants access (licence: {licence})")


def _cache_fault(folder: Path) -> str:
    """Why the hub cannot store a download there; empty if it can."""
    expected = f"{folder}: expected a folder in which the Hugging Face hub may store its downloads (HF_HOME)"
    while not folder.exists():
        if folder.is_symlink():
            return f"{expected}, found a link to nothing: {folder}"
        folder = folder.parent
    if not folder.is_dir():
        return f"{expected}, found a file: {folder}"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"{expected}, found that {folder} cannot be written"


def _answer_of_hub(name: str) -> str | None:
    """Why the hub refuses a repository to the token; empty if it grants access, None if it could not be asked."""
    from huggingface_hub import auth_check
    from huggingface_hub.errors import HfHubHTTPError

    def asked() -> str | None:
        try:
            auth_check(name)
        except HfHubHTTPError as error:
            status = getattr(error.response, "status_code", 0)
            return (str(error).strip().splitlines() or [""])[0] if status in _REFUSALS else None
        except Exception:  # no network: every HTTP library has errors of its own
            return None
        return ""

    with ThreadPoolExecutor(1) as pool:  # a firewall may let a request wait for minutes
        try:
            return pool.submit(asked).result(_HUB_SECONDS)
        except TimeoutError:
            pool.shutdown(wait=False)
            return None
