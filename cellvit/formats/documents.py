"""Documents: the results of a step as JSON that people and later steps read. Undefined numbers are null, never 0."""

import json
import math
import re
from pathlib import Path
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

from cellvit.errors import ContractError
from cellvit.formats.atomic import write_text
from cellvit.formats.dataset import DataSet
from cellvit.formats.digests import OwnDigest, check_unchanged, missing, remake, text_sha256
from cellvit.formats.provenance import Provenance

Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A float; NaN where undefined, written as null."""


class Record(BaseModel):
    """A part of a document."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null")


class Value(Record):
    """The value of a metric with its 95 % interval and what it was measured on.

    Attributes:
        low, high: Ends of the interval; NaN where there is none (`cellvit.metrics.intervals.Interval`).
        n: Tiles that define the value.
        units: Patients that define the value, or tiles where no patient is known; 0 if no interval is computed at all.
    """

    value: Number
    low: Number = math.nan
    high: Number = math.nan
    n: int
    units: int = 0


Values = dict[str, Value]
"""Values by the name of the metric."""

Digests = dict[str, str]
"""Digests (sha256) of files that were written beside a document, by name."""


class Check(Record):
    """One integrity check that passed."""

    name: str
    expected: str
    found: str


class Document(Record):
    """Header of every document."""

    format: str
    version: int = 3
    provenance: Provenance

    @property
    def dataset(self) -> DataSet:
        """The data set of the tiles upstream."""
        return self.provenance.dataset


AnyDocument = TypeVar("AnyDocument", bound=Document)

_OWN: Final = "sha256"
"""Last entry of a document's file: the digest of the text without it."""

_OWN_LINE: Final = re.compile(rf',\n "{_OWN}": "[0-9a-f]{{64}}"\n\}}\n\Z')


def write_document(path: Path, document: Document) -> None:
    """Write `document` as indented JSON; the digest of that text is its last entry."""
    text = document.model_dump_json(indent=1)
    write_text(path, text.removesuffix("\n}") + f',\n "{_OWN}": "{text_sha256(text)}"\n}}\n')


def read_document(path: Path, kind: type[AnyDocument]) -> AnyDocument:
    """The document at `path`, as its step wrote it.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is not a document of this kind and version.
        IntegrityError: It was changed after it was written.
    """
    if not path.exists():
        raise missing(path)
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        document = kind.model_validate({name: value for name, value in fields.items() if name != _OWN})
    except (ValueError, AttributeError, RecursionError) as error:  # of pydantic, of json, or of the decoding of text
        raise ContractError(f"{path}: this is not a {kind.__name__}: {error}\nFix: {remake(path)}") from error
    expected = kind.model_fields["version"].default
    if document.version != expected:
        raise ContractError(f"{path}: expected version {expected}, found {document.version}. Fix: {remake(path)}")
    check_unchanged(path, document_digest(path))
    return document


def document_digest(path: Path) -> OwnDigest:
    """The digest that a document's file records of itself, and the one of what it holds."""
    text = path.read_text(encoding="utf-8")
    return OwnDigest(str(json.loads(text).get(_OWN, "")), text_sha256(_OWN_LINE.sub("\n}", text)))
