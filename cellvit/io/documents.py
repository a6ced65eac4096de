"""Documents as JSON files: checked when read, written whole."""

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from cellvit.contracts.documents import Document
from cellvit.errors import ContractError, MissingInputError
from cellvit.io.atomic import write_text

AnyDocument = TypeVar("AnyDocument", bound=Document)


def write_document(path: Path, document: Document) -> None:
    """Write `document` as indented JSON."""
    write_text(path, document.model_dump_json(indent=1) + "\n")


def read_document(path: Path, kind: type[AnyDocument]) -> AnyDocument:
    """The document at `path`.

    Raises:
        MissingInputError: There is no file.
        ContractError: It is not a document of this kind and version.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: no such file. Make it: snakemake -- {path}")
    try:
        document = kind.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise ContractError(
            f"{path}: is no {kind.__name__}: {error}\nMake it again: rm {path} && snakemake -- {path}"
        ) from error
    expected = kind.model_fields["version"].default
    if document.version != expected:
        raise ContractError(
            f"{path}: version {expected} expected, found {document.version}. Make it again: rm {path} && snakemake -- {path}"
        )
    return document
