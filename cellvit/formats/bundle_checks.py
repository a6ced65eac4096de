"""Whether the files of a bundle belong to it: what their headers say against what the bundle says."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from cellvit.config.messages import fault_lines
from cellvit.config.steps import ExtractFeaturesSettings
from cellvit.errors import CellvitError, ContractError
from cellvit.formats.calibration import DecoderCalibration
from cellvit.formats.checkpoints import read_header
from cellvit.formats.content import content_of
from cellvit.formats.dataset import DataSet
from cellvit.formats.watershed import WatershedChoice

FIX: Final = "Fix: copy the whole folder again from where it was made, or make the bundle again: snakemake bundle"


def check_encoder(place: Path, encoder: Mapping[str, Any]) -> None:
    """The description of the encoder can be read, and builds a model without loading anything of its own choice.

    Raises:
        ContractError: It cannot be read, or its arguments name files or addresses.
    """
    try:
        ExtractFeaturesSettings.model_validate(dict(encoder))
    except ValidationError as error:
        faults = "; ".join(fault_lines(error, ExtractFeaturesSettings))
        raise ContractError(f"{place}: encoder: expected settings of an encoder, found: {faults}\n{FIX}") from error


def check_model(path: Path, expected: Mapping[str, Any], encoder: Mapping[str, Any], data_set: DataSet) -> None:
    """A checkpoint whose header has the `expected` entries, and that is of the same encoder and data set.

    Raises:
        ContractError: An entry differs.
    """
    header = read_header(path)
    for field, value in expected.items():
        check_value(path, field, value, getattr(header, field))
    check_same_encoder(path, encoder, header.encoder)
    check_value(path, "data_set", data_set, header.dataset)


def check_same_encoder(path: Path, expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """The same encoder and features; which of the stored blocks a decoder reads is its own.

    Raises:
        ContractError: They differ.
    """
    for section, value in expected.items():
        check_value(path, section, value, found.get(section))


def check_belongs(path: Path, found: WatershedChoice | DecoderCalibration, split: str, checkpoint: Path) -> None:
    """A document that was made from this checkpoint, and not from one of another run.

    Raises:
        ContractError: It is of another split, family or checkpoint.
    """
    family = read_header(checkpoint).family
    check_value(path, "split", split, found.split)
    check_value(path, "family", family, found.family)
    if (digest := content_of(checkpoint).digest) not in found.provenance.made_from.values():
        raise ContractError(
            f"{path}: provenance.made_from: expected {checkpoint.name} of this bundle ({digest[:12]}), found another decoder."
        )


def check_value(path: Path, field: str, expected: object, found: object) -> None:
    """Raise ContractError if an entry is not what the bundle says."""
    if found != expected:
        raise ContractError(f"{path}: {field}: expected {expected}, as the bundle says, found {found}.")


@contextmanager
def fix_of_bundle() -> Iterator[None]:
    """Errors of single files with the fix of a bundle, whose files are not made one by one."""
    try:
        yield
    except CellvitError as error:
        raise type(error)(f"{str(error).partition('Fix:')[0].rstrip()} {FIX}") from error
