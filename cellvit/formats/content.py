"""What a file says: the digest of its content, and the marks that everything made from it inherits.

The content of a product leaves out how it came to be (provenance, times, fingerprint of the code), so that a step which
repeats its output leaves the digests downstream as they are. Results are cached by these digests, and provenance
records them."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from safetensors import SafetensorError, safe_open

from cellvit.errors import ContractError
from cellvit.formats.digests import combined, missing, remake, sha256_of
from cellvit.formats.hdf5 import open_hdf5, store_digest
from cellvit.formats.provenance import Provenance

HEADER_KEY: Final = "cellvit"
"""Key of the header in the metadata of a checkpoint."""

_NO_CONTENT: Final = ("provenance", "sha256", "code")
"""Entries of documents and headers that say how the file came to be."""


class Content(NamedTuple):
    """Digest of what a file says, and the marks of its provenance."""

    digest: str
    simulated: bool = False
    encoder_mark: str = ""


def content_of(path: Path, bytes_sha256: Callable[[Path], str] = sha256_of) -> Content:
    """Content of a store, document or checkpoint from its header; of any other file from its bytes.

    Args:
        bytes_sha256: Digest of the bytes of a file, as `sha256_of`, or one that remembers.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is a store, document or checkpoint that cannot be read.
    """
    if not path.exists():
        raise missing(path)
    if path.suffix == ".h5":
        return _store_content(path)
    fields = _fields(path) if path.suffix in (".json", ".safetensors") else {}
    if "provenance" not in fields:  # a file of another program, or a table
        return Content(bytes_sha256(path))
    marks = (bool(fields["provenance"].get("simulated")), str(fields["provenance"].get("encoder_mark", "")))
    said = {name: value for name, value in fields.items() if name not in _NO_CONTENT}
    return Content(combined({"content": said, "marks": marks}), *marks)


def provenance_of(
    output: Path, inputs: Sequence[Path], settings: Mapping[str, Any], *, outside: Mapping[str, str] | None = None
) -> Provenance:
    """Provenance of a file that is made from other products; it inherits the marks of each.

    Args:
        outside: Digests of data from outside the results, by name.
    """
    contents = {os.path.relpath(path, output.parent): content_of(path) for path in inputs}
    return Provenance(
        made_from={name: content.digest for name, content in sorted(contents.items())} | dict(outside or {}),
        settings=dict(settings),
        simulated=any(content.simulated for content in contents.values()),
        encoder_mark="; ".join(dict.fromkeys(mark for _, _, mark in contents.values() if mark)),
    )


def _store_content(path: Path) -> Content:
    with open_hdf5(path) as file:
        try:
            provenance = Provenance.model_validate_json(file.attrs["provenance"])
            digest = store_digest(str(file.attrs["content_sha256"]), provenance)
        except (KeyError, ValueError) as error:
            raise ContractError(f"{path}: this is not a complete store ({error}). Fix: {remake(path)}") from error
    return Content(digest, provenance.simulated, provenance.encoder_mark)


def _fields(path: Path) -> dict[str, Any]:
    """Entries of a document or of a checkpoint's header, which holds the digest of the weights."""
    is_json = path.suffix == ".json"
    try:
        if is_json:
            fields = json.loads(path.read_text(encoding="utf-8"))
        else:
            with safe_open(path, framework="numpy") as file:
                fields = json.loads((file.metadata() or {}).get(HEADER_KEY, "{}"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        kind = "JSON" if is_json else "a safetensors file"
        raise ContractError(f"{path}: this is not {kind} ({error}). Fix: {remake(path)}") from error
    return fields if isinstance(fields, dict) else {}
