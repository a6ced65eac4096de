"""Origin of a product from the files that it was made from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cellvit.contracts.documents import CheckpointHeader, Document
from cellvit.contracts.provenance import Provenance
from cellvit.io.family import FamilyStore
from cellvit.io.hashing import sha256_of
from cellvit.io.hdf5 import Store
from cellvit.io.seals import said_by_checkpoint


def origin_of(
    *,
    stores: Mapping[str, Store] | None = None,
    families: Mapping[str, FamilyStore] | None = None,
    folds: Sequence[int] = (),
    documents: Mapping[str, tuple[Path, Document]] | None = None,
    tables: Mapping[str, Path] | None = None,
    settings: Mapping[str, Any],
) -> Provenance:
    """Origin with the content hash of every input by name; a mark of any input is a mark of the product.

    Args:
        families: Family stores, of which only `folds` were read: hashed fold by fold, so that a change of another fold
            leaves the origin as it is.
        documents: JSON documents and checkpoints, each with what was read from it. A checkpoint counts by what it says,
            so that the code that wrote it does not.
        tables: Files that carry no origin of their own; their marks must come from another input.
    """
    stores, families, documents, tables = stores or {}, families or {}, documents or {}, tables or {}
    files = {name: path for name, (path, read) in documents.items() if not isinstance(read, CheckpointHeader)}
    files |= dict(tables)
    parents = [store.provenance for store in (*stores.values(), *families.values())]
    parents += [document.provenance for _, document in documents.values()]
    return Provenance(
        made_from={name: store.content_sha256 for name, store in stores.items()}
        | {f"{name}_fold{fold}": store.fold_sha256(fold) for name, store in families.items() for fold in folds}
        | {
            name: said_by_checkpoint(path, read)
            for name, (path, read) in documents.items()
            if isinstance(read, CheckpointHeader)
        }
        | {name: sha256_of(path) for name, path in files.items()},
        settings=dict(settings),
        simulated=any(parent.simulated for parent in parents),
        untrained_encoder=any(parent.untrained_encoder for parent in parents),
    )
