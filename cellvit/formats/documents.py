"""Documents: what a step found, as JSON that people and later steps read. Undefined numbers are null, never 0.
"""

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

from cellvit.errors import ContractError, MissingInputError
from cellvit.formats.atomic import write_text
from cellvit.formats.digests import OwnHash, check_as_written
from cellvit.formats.provenance import Provenance

Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A float; NaN where undefined, written as null."""


class Record(BaseModel):
    """A part of a document."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null")


class Figure(Record):
    """A number with its 95 % bootstrap interval and what it was measured on.

    Attributes:
        n: Units that define the value (tiles, unless the metric says otherwise).
    """

    value: Number
    low: Number = math.nan
    high: Number = math.nan
    n: int


Figures = dict[str, Figure]
"""Figures by name of the metric."""


Hashes = dict[str, str]
"""Content hashes (sha256) of files that were written beside a document, by name."""


class Check(Record):
    """One integrity check that held."""

    name: str
    expected: str
    found: str


class Document(Record):
    """Header of every document."""

    format: str
    version: int = 1
    provenance: Provenance


AnyDocument = TypeVar("AnyDocument", bound=Document)


_OWN: Final = "sha256"
"""Last entry of a document's file: the hash of the text without it."""


_OWN_LINE: Final = re.compile(rf',\n "{_OWN}": "[0-9a-f]{{64}}"\n\}}\n\Z')


def write_document(path: Path, document: Document) -> None:
    """Write `document` as indented JSON; the hash of that text is its last entry."""
    text = document.model_dump_json(indent=1)
    write_text(path, text.removesuffix("\n}") + f',\n "{_OWN}": "{_sha256(text)}"\n}}\n')


def read_document(path: Path, kind: type[AnyDocument]) -> AnyDocument:
    """The document at `path`, as its step wrote it.

    Raises:
        MissingInputError: There is no file.
        ContractError: It is not a document of this kind and version.
        IntegrityError: It was changed since.
    """
    document = parse_document(path, kind)
    check_as_written(path, own_hash(path))
    return document


def parse_document(path: Path, kind: type[AnyDocument]) -> AnyDocument:
    """The document at `path`, whatever hash it carries (`own_hash` tells whether it is as it was written).

    Raises:
        MissingInputError: There is no file.
        ContractError: It is not a document of this kind and version.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: no such file. Make it: snakemake -- {path}")
    try:
        document = kind.model_validate_json(_without_own(path.read_text(encoding="utf-8")))
    except ValueError as error:  # of pydantic, of json, or of the decoding of text
        raise ContractError(
            f"{path}: is no {kind.__name__}: {error}\nMake it again: rm {path} && snakemake -- {path}"
        ) from error
    expected = kind.model_fields["version"].default
    if document.version != expected:
        raise ContractError(
            f"{path}: version {expected} expected, found {document.version}. Make it again: rm {path} && snakemake -- {path}"
        )
    return document


def own_hash(path: Path) -> OwnHash:
    """What a document's file says of itself; the two differ where it was changed after it was written."""
    text = path.read_bytes().decode()
    carried = json.loads(text).get(_OWN, "")
    return OwnHash(str(carried), _sha256(_OWN_LINE.sub("\n}", text)))


def _without_own(text: str) -> str:
    fields = json.loads(text)
    if isinstance(fields, dict):
        fields.pop(_OWN, None)
    return json.dumps(fields)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
