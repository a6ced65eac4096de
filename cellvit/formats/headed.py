"""Arrays with a document as their header, in a safetensors file: checkpoints and novelty models. Nothing is pickled."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from cellvit.errors import ContractError
from cellvit.formats.atomic import replacing
from cellvit.formats.content import HEADER_KEY
from cellvit.formats.digests import OwnDigest, arrays_sha256, missing, remake, text_sha256
from cellvit.formats.documents import AnyDocument, Document

Arrays = Mapping[str, np.ndarray]
"""Arrays by name."""


def header_of(path: Path, kind: type[AnyDocument], name: str) -> AnyDocument:
    """The header alone, without loading arrays; `name` says what the file is.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is not such a file of this project, or of another version.
    """
    if not path.exists():
        raise missing(path)
    try:
        with safe_open(path, framework="numpy") as file:
            header = kind.model_validate(json.loads((file.metadata() or {})[HEADER_KEY]))
    except (SafetensorError, OSError, KeyError, ValueError) as error:  # pydantic's error is a ValueError
        raise ContractError(
            f"{path}: this is not a {name} of cellvit-optimus ({error}). Fix: {remake(path)}"
        ) from error
    expected = kind.model_fields["version"].default
    if header.version != expected:
        raise ContractError(f"{path}: expected version {expected}, found {header.version}. Fix: {remake(path)}")
    return header


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file whose header was read."""
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict


def write_headed(path: Path, header: Document, arrays: Arrays) -> None:
    """Write arrays and header, which has the entries `weights_sha256` and `sha256`; the bytes depend on nothing else."""
    stored = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    header = header.model_copy(update={"weights_sha256": arrays_sha256(stored.items())})
    header = header.model_copy(update={"sha256": _header_sha256(header)})
    with replacing(path) as temporary:
        # safetensors' own save_file gives a file that only its owner may read
        temporary.write_bytes(save(stored, metadata={HEADER_KEY: header.model_dump_json()}))


def headed_digest(header: Document, arrays: Arrays) -> OwnDigest:
    """The digest that a header records, and the one of what the file holds: of the arrays if these differ, else of the header."""
    recorded = header.model_dump()
    weights = OwnDigest(recorded["weights_sha256"], arrays_sha256(sorted(arrays.items())))
    if weights.recorded != weights.actual:
        return weights
    return OwnDigest(recorded["sha256"], _header_sha256(header))


def _header_sha256(header: Document) -> str:
    return text_sha256(header.model_copy(update={"sha256": ""}).model_dump_json())
