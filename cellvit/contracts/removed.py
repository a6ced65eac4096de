"""What stores said that were removed on purpose, because they can be made again."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from cellvit.contracts.provenance import Provenance


class StoreHeader(BaseModel):
    """What a store says of itself without its rows.

    Attributes:
        n: Rows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str
    version: int
    n: int
    content_sha256: str
    provenance: Provenance


class RemovedStores(BaseModel):
    """Headers of the stores that `clean_features` removed, by path within the output folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["cellvit-removed-stores"] = "cellvit-removed-stores"
    version: Literal[1] = 1
    stores: dict[str, StoreHeader]
