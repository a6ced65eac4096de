"""Seals: a small file for each store and checkpoint with the hash of what it says.

Snakemake decides by seals what follows, not by times of large files: a step that makes the same again leaves its seal as
it was, and nothing after it runs. Code and versions that made a product are no part of what it says.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cellvit.contracts.documents import CheckpointHeader
from cellvit.contracts.provenance import Provenance
from cellvit.errors import ContractError, MissingInputError
from cellvit.io.atomic import write_text
from cellvit.io.family import Member
from cellvit.io.hashing import combined
from cellvit.io.hdf5 import Store
from cellvit.io.headers import weights_sha256

_FORMAT: Final = {"format": "cellvit-seal", "version": 1}


def write_seal(path: Path, said: str) -> None:
    """Seal a product that says what hashes to `said`."""
    write_text(path, json.dumps({**_FORMAT, "says": said}) + "\n")


def read_seal(path: Path) -> str:
    """What the sealed product says, as a hash.

    Raises:
        MissingInputError: There is no file.
        ContractError: It is no seal.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: no such file. Make it: snakemake -- {path}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        said = str(found.pop("says"))
    except (ValueError, KeyError, AttributeError) as error:
        raise ContractError(
            f"{path}: is no seal ({error!r}). Make it again: rm {path} && snakemake -- {path}"
        ) from error
    if found != _FORMAT:
        raise ContractError(
            f"{path}: expected {_FORMAT}, found {found}. Make it again: rm {path} && snakemake -- {path}"
        )
    return said


def said_by_store(store: Store) -> str:
    """Hash of a store's rows and of what its header says of them; what it was made from does not count."""
    return said_of(store.content_sha256, store.provenance)


def said_of_rows(*members: Member) -> str:
    """Hash of the rows that a family reads of a fold's stores and of what their headers say; other rows do not count."""
    return said_of_parts({member.store.format.name: (member.sha256, member.store.provenance) for member in members})


def said_of_parts(parts: Mapping[str, tuple[str, Provenance]]) -> str:
    """As `said_of_rows`, from the hash of the rows and the origin of each store, by the name of its format."""
    return combined({name: said_of(sha256, origin) for name, (sha256, origin) in parts.items()})


def said_by_checkpoint(path: Path, header: CheckpointHeader) -> str:
    """Hash of a checkpoint's weights and header, without the fingerprint of the code and the version that wrote it."""
    described = header.model_dump(mode="json", exclude={"code": True, "sha256": True, "provenance": {"software": True}})
    return combined({"header": json.dumps(described, sort_keys=True), "weights": weights_sha256(path)})


def said_of(rows_sha256: str, origin: Provenance) -> str:
    """Hash of rows, given by theirs, and of what the header of their store says of them."""
    said = {"settings": origin.settings, "simulated": origin.simulated, "untrained_encoder": origin.untrained_encoder}
    return combined({"rows": rows_sha256, "header": json.dumps(said, sort_keys=True)})
