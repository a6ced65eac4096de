"""A timm vision transformer with the weights that the settings name: from the hub, a local file or a seed."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import huggingface_hub
import torch
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cellvit.config.encoders import EncoderPreset, EncoderSettings
from cellvit.errors import ContractError, MissingInputError, SettingsError
from cellvit.models.timm_import import import_timm

_HUB_FILES: Final = ("model.safetensors", "pytorch_model.bin")
"""Names of the weights in a repository of the hub, in timm's order of preference."""

_SUFFIXES: Final = (".safetensors", ".pth", ".pt", ".bin")

_UNTRAINED_LAYER_SCALE: Final = 1.0
"""Published encoders start training at 1e-5; random blocks would then leave every token at its embedding."""

_SHOWN: Final = 5
"""Names that an error lists."""


class LoadedVit(NamedTuple):
    """A model with its weights, and the file that they came from (none for random weights)."""

    vit: nn.Module
    weights: Path | None


def load_vit(settings: EncoderSettings) -> LoadedVit:
    """The encoder's transformer on the CPU, every weight loaded or drawn.

    Random weights depend on `encoder.seed` alone, and torch's global generators are left as they were.

    Raises:
        MissingInputError: The weights cannot be had; the message says what to ask for and where.
        ContractError: The weights do not fit the architecture.
        SettingsError: timm knows no such architecture or argument.
    """
    match settings.weights:
        case "hub":
            return _from_hub(settings)
        case "random":
            return LoadedVit(_random(settings), None)
        case path:
            file = _weights_file(Path(path))
            vit = create_vit(settings.spec.architecture, settings.spec)
            _load_strictly(vit, _read(file), file)
            return LoadedVit(vit, file)


def create_vit(name: str, spec: EncoderPreset, **more: object) -> nn.Module:
    """timm's model of that name with the encoder's arguments, over which `more` goes.

    Raises:
        SettingsError: timm knows no such architecture, layer or argument.
    """
    timm = import_timm()
    if ":" not in name and not timm.is_model(name):
        raise SettingsError(f"encoder.custom: timm knows no architecture {name}; see timm.list_models()")
    arguments = {**_with_classes(spec.arguments), **more}
    try:
        model: nn.Module = timm.create_model(name, **arguments)
    except TypeError as error:
        raise SettingsError(f"encoder.custom.arguments: timm refuses them for {name}: {error}") from error
    return model


def _with_classes(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with layers that are given by name replaced by their classes."""
    layers = import_timm().layers
    resolved = dict(arguments)
    for key, value in arguments.items():
        if key.endswith("_layer") and isinstance(value, str):
            found = getattr(layers, value, None) or getattr(nn, value, None)
            if not callable(found):  # SwiGLUPacked is a partial of a class
                raise SettingsError(
                    f"encoder.custom.arguments.{key}: a class of timm.layers or torch.nn is expected, as SwiGLUPacked "
                    f"or SiLU, found {value}"
                )
            resolved[key] = found
    return resolved


def _random(settings: EncoderSettings) -> nn.Module:
    spec = settings.spec
    scaled = {"init_values": _UNTRAINED_LAYER_SCALE} if "init_values" in spec.arguments else {}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(settings.seed)
        return create_vit(spec.architecture, spec, **scaled)


def _from_hub(settings: EncoderSettings) -> LoadedVit:
    name = settings.spec.name
    try:
        vit = create_vit(name, settings.spec, pretrained=True)
    except (HfHubHTTPError, OSError) as error:
        raise _hub_refusal(settings, error) from error
    except RuntimeError as error:
        raise ContractError(f"encoder {name}: timm cannot load the weights of the hub strictly: {error}") from error
    return LoadedVit(vit, _cached_file(vit))


def _cached_file(vit: nn.Module) -> Path | None:
    """The hub's file in the local cache."""
    repository, _, revision = str(vit.pretrained_cfg["hf_hub_id"]).partition("@")  # type: ignore[index]
    for name in _HUB_FILES:
        found = huggingface_hub.try_to_load_from_cache(repository, name, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    return None


def _hub_refusal(settings: EncoderSettings, error: Exception) -> MissingInputError:
    spec = settings.spec
    page = spec.page or f"https://huggingface.co/{spec.name.removeprefix('hf-hub:')}"
    if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
        reason = "they are not in the local cache, and the hub cannot be reached (no network, or HF_HUB_OFFLINE is set)"
    else:
        reason = (
            f"the hub refuses: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}"
        )
    return MissingInputError(
        f"encoder {settings.preset}: the weights {spec.name} cannot be had; {reason}.\n"
        f"  1. Ask for access on {page}\n"
        "  2. Log in: hf auth login, or set HF_TOKEN to a token that may read them\n"
        "Without network: set HF_HOME to a cache that holds them, or encoder.weights: /path/to/model.safetensors.\n"
        "To try the graph without them: encoder.weights: random (results are marked untrained)."
    )


def _weights_file(path: Path) -> Path:
    """The file at `path`, or the one weights file in that folder."""
    if path.is_file() and path.suffix in _SUFFIXES:
        return path
    if not path.exists():
        raise MissingInputError(
            f"encoder.weights: no file or folder {path}. Give hub, random, or the path of a weights file"
        )
    found = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES) if path.is_dir() else []
    preferred = [file for name in _HUB_FILES for file in found if file.name == name]
    if not (preferred or len(found) == 1):
        raise MissingInputError(
            f"encoder.weights: {path} must be or hold one file {', '.join(_SUFFIXES)}; "
            f"found {[file.name for file in found[:_SHOWN]] or 'none'}. Name the file itself"
        )
    return (preferred or found)[0]


def _read(file: Path) -> dict[str, Tensor]:
    """Tensors by name; nothing of the file is executed."""
    try:
        weights = load_file(file) if file.suffix == ".safetensors" else _read_pickle(file)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ContractError(
            f"encoder.weights: {file} cannot be read as weights: {str(error).splitlines()[0]}"
        ) from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ContractError(
            f"encoder.weights: {file} must hold tensors by name (a state dict), found {type(weights).__name__}. "
            "Save model.state_dict() alone, best with safetensors.torch.save_file"
        )
    return weights


def _read_pickle(file: Path) -> Any:
    return torch.load(file, map_location="cpu", weights_only=True)


def _load_strictly(vit: nn.Module, weights: Mapping[str, Tensor], file: Path) -> None:
    expected = vit.state_dict()
    faults = {
        "missing": [name for name in expected if name not in weights],
        "unexpected": [name for name in weights if name not in expected],
        "of another shape": [
            f"{name} {tuple(weights[name].shape)}, not {tuple(tensor.shape)}"
            for name, tensor in expected.items()
            if name in weights and weights[name].shape != tensor.shape
        ],
    }
    found = [f"  {len(names)} {what}: {', '.join(names[:_SHOWN])}" for what, names in faults.items() if names]
    if found:
        raise ContractError(
            f"encoder.weights: {file} does not fit the encoder.\n" + "\n".join(found) + "\n"
            "Choose the preset that the file belongs to, or encoder.custom with its architecture and arguments."
        )
    vit.load_state_dict(weights, strict=True)
