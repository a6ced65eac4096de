"""Whether a file is as its step wrote it, by the hash that it carries of itself or that the document beside it names."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cellvit.errors import IntegrityError, MissingInputError
from cellvit.io.hashing import sha256_of


class OwnHash(NamedTuple):
    """Hash that a file carries of itself, empty where it carries none; and the hash that it should carry."""

    carried: str
    actual: str


def check_as_written(path: Path, hashes: OwnHash) -> None:
    """Refuse a file that was changed after its step wrote it: figures made from it would be of no run.

    Raises:
        IntegrityError: The two hashes differ.
    """
    if hashes.carried != hashes.actual:
        raise IntegrityError(
            f"{path}: was changed after it was written.\n"
            f"  sha256: expected {hashes.carried or 'one, and it has none'}, found {hashes.actual}\n"
            f"Make it again: rm {path} && snakemake -- {path}"
        )


def check_table(path: Path, tables: Mapping[str, str], name: str) -> None:
    """Refuse a table other than the one that `tables` of its document names.

    Raises:
        MissingInputError: There is no file.
        IntegrityError: It was changed since, or is that of another document.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: no such file. Make it: snakemake -- {path}")
    carried, actual = tables.get(name, ""), sha256_of(path)
    if carried != actual:
        raise IntegrityError(
            f"{path}: is not the table that its document was written with (changed since, or of another document).\n"
            f"  sha256: expected {carried or 'one, and the document names none'}, found {actual}\n"
            f"Make it again: rm {path} && snakemake -- {path}"
        )
