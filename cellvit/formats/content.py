"""What a file says: the digest of its content, and the marks that everything made from it inherits.

The content of a product leaves out how it came to be (provenance, times, fingerprint of the code), so that a step which
repeats its output leaves the digests downstream as they are. Results are cached by these digests, and provenance
records them."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from cellvit.errors import ContractError
from cellvit.formats.dataset import DataSet, check_same_data
from cellvit.formats.digests import combined, missing, remake, sha256_of
from cellvit.formats.hdf5 import store_digest
from cellvit.formats.hdf5_header import open_hdf5, read_store_header
from cellvit.formats.provenance import Provenance

HEADER_KEY: Final = "cellvit"
"""Key of the header in the metadata of a checkpoint."""

_NO_CONTENT: Final = ("provenance", "sha256", "code")
"""Entries of documents and headers that say how the file came to be."""


class Content(NamedTuple):
    """Digest of what a file says, and what everything that is made from it inherits: marks, and the data set."""

    digest: str
    simulated: bool = False
    encoder_mark: str = ""
    data_set: DataSet | None = None


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
    origin = fields["provenance"]
    marks = (bool(origin.get("simulated")), str(origin.get("encoder_mark", "")))
    said = {name: value for name, value in fields.items() if name not in _NO_CONTENT}
    digest = combined({"content": said, "marks": marks, "data_set": origin.get("data_set")})
    return Content(digest, *marks, _data_set(path, origin.get("data_set")))


def provenance_of(
    output: Path,
    inputs: Sequence[Path],
    settings: Mapping[str, Any],
    *,
    outside: Mapping[str, str] | None = None,
    others: Mapping[str, Path] | None = None,
) -> Provenance:
    """Provenance of a file that is made from other products; it inherits their data set, and the marks of each.

    Args:
        outside: Digests of data from outside the results, by name.
        others: Products of other runs, which are inputs too, by name: their place says nothing if results are moved. They may
            be of another data set.

    Raises:
        StaleFileError: Two inputs are of different data sets.
    """
    found = {path: content_of(path) for path in inputs}
    contents = {os.path.relpath(path, output.parent): content for path, content in found.items()}
    contents |= {name: content_of(path) for name, path in (others or {}).items()}
    return Provenance(
        made_from={name: content.digest for name, content in sorted(contents.items())} | dict(outside or {}),
        settings=dict(settings),
        data_set=_common_data_set(found),
        simulated=any(content.simulated for content in contents.values()),
        encoder_mark="; ".join(dict.fromkeys(mark for _, _, mark, _ in contents.values() if mark)),
    )


def _common_data_set(contents: Mapping[Path, Content]) -> DataSet | None:
    """The data set of all files that name one."""
    named = [(path, content.data_set) for path, content in contents.items() if content.data_set is not None]
    for path, data_set in named[1:]:
        check_same_data(*named[0], path, data_set)
    return named[0][1] if named else None


def _data_set(path: Path, fields: object) -> DataSet | None:
    try:
        return None if fields is None else DataSet.model_validate(fields)
    except ValidationError as error:
        raise ContractError(f"{path}: its data set cannot be read ({error}). Fix: {remake(path)}") from error


def _store_content(path: Path) -> Content:
    with open_hdf5(path) as file:
        header = read_store_header(file, path)
    origin = header.provenance
    return Content(store_digest(header.content_sha256, origin), origin.simulated, origin.encoder_mark, origin.data_set)


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
        raise ContractError(
            f"{path}: this is not {kind} ({error}). Fix: copy it again if it came from elsewhere; else {remake(path)}"
        ) from error
    return fields if isinstance(fields, dict) else {}
