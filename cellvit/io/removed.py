"""Memory of the stores of a run that `clean_features` removed: who verifies the run then still knows what they said."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cellvit.contracts.removed import RemovedStores, StoreHeader
from cellvit.errors import ContractError
from cellvit.io.atomic import write_text
from cellvit.io.hdf5 import Store

_NAME: Final = ".cellvit/removed.json"


def header_of(store: Store) -> StoreHeader:
    """What a store says of itself."""
    return StoreHeader(
        format=store.format.name,
        version=store.format.version,
        n=len(store),
        content_sha256=store.content_sha256,
        provenance=store.provenance,
    )


def remember_removed(results: Path, stores: Mapping[Path, StoreHeader]) -> None:
    """Add stores to what is remembered of the run in `results`."""
    known = read_removed(results) | {str(path.relative_to(results)): header for path, header in stores.items()}
    write_text(results / _NAME, RemovedStores(stores=dict(sorted(known.items()))).model_dump_json(indent=1) + "\n")


def read_removed(results: Path) -> dict[str, StoreHeader]:
    """Headers of removed stores by path within `results`; none where nothing was removed.

    Raises:
        ContractError: The memory cannot be read.
    """
    memory = results / _NAME
    if not memory.exists():
        return {}
    try:
        return RemovedStores.model_validate_json(memory.read_text(encoding="utf-8")).stores
    except ValueError as error:
        raise ContractError(
            f"{memory}: is no memory of removed stores: {error}\nForget what was removed: rm {memory}"
        ) from error
