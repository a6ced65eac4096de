"""What a file was made from.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

import cellvit
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import Document
from cellvit.formats.evaluations import FamilyEvaluation, OrganHeadEvaluation, RoutedEvaluation
from cellvit.formats.family import FamilyStore
from cellvit.formats.features import FeatureCheck
from cellvit.formats.hdf5 import Store
from cellvit.formats.seals import said_by_checkpoint
from cellvit.formats.tiles import FoldSummary, TargetCheck
from cellvit.formats.watershed import WatershedChoice


class Provenance(BaseModel):
    """Origin of a file; equal inputs and settings give an equal record (no time, no machine).

    Attributes:
        made_from: Content hash (sha256) of every input by name.
        settings: Settings of the step that made the file.
        simulated: True where any data behind it are simulated.
        untrained_encoder: True where features behind it come from random weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    made_from: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    simulated: bool = False
    untrained_encoder: bool = False
    software: str = f"cellvit-optimus {cellvit.__version__}"

    @property
    def marks(self) -> tuple[str, ...]:
        """What must stand beside every figure that comes from this: simulated data, untrained encoder."""
        named = (("simulated data", self.simulated), ("untrained encoder", self.untrained_encoder))
        return tuple(name for name, holds in named if holds)


def source_name(kind: str, *, split: str = "", family: str = "", fold: str = "") -> str:
    """Name of a source of a product that is made from many of a kind.

    Examples:
        >>> source_name("watershed", split="1", family="digestive"), source_name("check", fold="2")
        ('split1_digestive_watershed', 'fold2_check')
    """
    parts = (f"split{split}" if split else "", family, f"fold{fold}" if fold else "", kind)
    return "_".join(part for part in parts if part)


def document_name(document: Document) -> str:
    """Name of a document where it is one source of many."""
    match document:
        case FoldSummary():
            return source_name("summary", fold=str(document.fold))
        case FeatureCheck():
            return source_name("check", fold=document.fold_id.removeprefix("fold"))
        case TargetCheck():
            return source_name("check", family=document.family)
        case WatershedChoice():
            return source_name("watershed", split=document.split, family=document.family)
        case FamilyEvaluation():
            return source_name("evaluation", split=document.split, family=document.family)
        case RoutedEvaluation():
            return source_name("routed", split=document.split)
        case OrganHeadEvaluation():
            return source_name("organ_head", split=document.split)
        case CheckpointHeader():
            return source_name("checkpoint", split=document.split, family=document.family or document.kind)
    raise AssertionError(document.format)


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
