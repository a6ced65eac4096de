"""A bundle: trained models with everything that their use needs, in one folder that can be copied.

The folder holds `bundle.json` (a `BundleDocument`), the files that it lists with their digests, and a model card, README.md.
Weights are safetensors; nothing is pickled, and loading executes nothing. The weights of the encoder are not in it.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal

from cellvit.errors import ContractError, IntegrityError, MissingInputError
from cellvit.formats.atomic import write_text
from cellvit.formats.bundle_checks import (
    FIX,
    check_belongs,
    check_encoder,
    check_model,
    check_same_encoder,
    check_value,
    fix_of_bundle,
)
from cellvit.formats.calibration import DecoderCalibration
from cellvit.formats.checkpoints import read_header
from cellvit.formats.content import content_of
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import Document, read_document, write_document
from cellvit.formats.novelty import read_novelty_header
from cellvit.formats.watershed import WatershedChoice

BUNDLE: Final = "bundle.json"
CARD: Final = "README.md"
ORGAN_HEAD_NAME: Final = "organ_head.safetensors"
NOVELTY_NAME: Final = "novelty.safetensors"

_GUARDED: Final = frozenset({".json", ".safetensors"})
"""Kinds of files that a reader opens: a bundle has none of them that it does not list."""

PARTS: Final = (
    "hovernet_*.safetensors",
    "watershed_*.json",
    "calibration_*.json",
    ORGAN_HEAD_NAME,
    NOVELTY_NAME,
    CARD,
)
"""Names of the files that a bundle may list, as patterns."""


class BundleDocument(Document):
    """What a bundle is; the data set (classes, colours, resolution, licence) is in its provenance.

    Attributes:
        name: Name of the data set and of the split, as "PanNuke, split 1".
        final: True for models that were trained on all folds: none was left to test them.
        folds: Folds by role (train, validate).
        encoder: The encoder, as the headers of checkpoints record it (`cellvit.inference.blocks.encoder_record`).
        encoder_sha256: Digest of the file of its weights; empty for random weights.
        encoder_licence: Licence of its weights; empty if it is not known.
        decoders: Organs of each decoder; the shared decoder has all of them.
        decoder_of: Decoder of each organ; empty where the data set has no organs, and `default_decoder` decodes all.
        default_decoder: The decoder where no organ is known, and of tiles that are unlike the training data, if asked for.
        files: Digest of every other file of the folder, by its name.
        commercial_use: False if the licence of the data or of the encoder forbids it; None if that is not known.
        licence: What the licences mean for the predictions, as a sentence.
    """

    format: Literal["cellvit-bundle"] = "cellvit-bundle"
    version: int = 1
    name: str
    split: str
    final: bool = False
    folds: dict[str, tuple[int, ...]]
    encoder: dict[str, Any]
    encoder_sha256: str = ""
    encoder_licence: str = ""
    decoders: dict[str, tuple[str, ...]]
    decoder_of: dict[str, str]
    default_decoder: str
    files: dict[str, str]
    commercial_use: bool | None = None
    licence: str


@dataclass(frozen=True, slots=True)
class BundledDecoder:
    """One decoder of a bundle."""

    family: str
    checkpoint: Path
    watershed: WatershedChoice
    calibration: DecoderCalibration | None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was read and checked.

    Attributes:
        folder: Where it lies.
        digest: Digest of what it says.
        decoders: By family.
        organ_head: Checkpoint of OrganHead; None without organs.
        novelty: File of `cellvit.formats.novelty`; None if there is none.
    """

    folder: Path
    document: BundleDocument
    digest: str
    decoders: dict[str, BundledDecoder]
    organ_head: Path | None
    novelty: Path | None


def checkpoint_name(family: str) -> str:
    """File of a decoder; as in the folders of a run, so that a training can start from a bundle."""
    return f"hovernet_{family}.safetensors"


def watershed_name(family: str) -> str:
    """File of the decoding parameters of a decoder."""
    return f"watershed_{family}.json"


def calibration_name(family: str) -> str:
    """File of the calibration of a decoder."""
    return f"calibration_{family}.json"


def write_bundle(folder: Path, document: BundleDocument, sources: Mapping[str, Path], card: str) -> None:
    """Copy the files of a bundle, write its model card and its document, and replace `folder` as a whole.

    Args:
        document: Without `files`, which are listed here.
        sources: File to copy, by its name in the bundle.
        card: Text of the model card.

    Raises:
        ContractError: A file does not belong to this bundle.
    """
    _check_parts(folder / BUNDLE, document, sources)
    for unfinished in folder.parent.glob(f".{folder.name}.*.part"):  # of a writer that was killed
        shutil.rmtree(unfinished)
    temporary, earlier = (folder.with_name(f".{folder.name}.{os.getpid()}{end}.part") for end in ("", ".old"))
    try:
        temporary.mkdir(parents=True)
        for name, path in sources.items():
            shutil.copyfile(path, temporary / name)
        write_text(temporary / CARD, card)
        files = {path.name: sha256_of(path) for path in sorted(temporary.iterdir())}
        write_document(temporary / BUNDLE, document.model_copy(update={"files": files}))
        if folder.exists():
            folder.rename(earlier)
        temporary.rename(folder)
    finally:
        for rest in (temporary, earlier):
            shutil.rmtree(rest, ignore_errors=True)


def read_bundle(folder: Path) -> Bundle:
    """The bundle in `folder`, after everything in it was checked; nothing in it is executed.

    Raises:
        MissingInputError: There is no bundle, or a file that it lists is missing.
        IntegrityError: A file was changed after the bundle was made.
        ContractError: A file is of another version, is not listed, or does not belong to this bundle.
    """
    if not (folder / BUNDLE).is_file():
        raise MissingInputError(
            f"{folder}: expected the folder of a bundle, which holds {BUNDLE}, found "
            f"{'a folder without it' if folder.is_dir() else 'no such folder'}. Fix: snakemake bundle, then name "
            "<results>/bundles/split1 or another folder below <results>/bundles"
        )
    with fix_of_bundle():
        document = read_document(folder / BUNDLE, BundleDocument)
    paths = {name: folder / name for name in document.files}
    _check_listed(folder, document)
    decoders, organ_head, novelty = _check_parts(folder / BUNDLE, document, paths)
    return Bundle(folder, document, content_of(folder / BUNDLE).digest, decoders, organ_head, novelty)


def _check_listed(folder: Path, document: BundleDocument) -> None:
    """Exactly the files that are listed, each with its digest."""
    for name, expected in document.files.items():
        if "/" in name or not any(fnmatchcase(name, pattern) for pattern in PARTS):
            raise ContractError(f"{folder / BUNDLE}: files: expected names of parts of a bundle, found {name!r}. {FIX}")
        if not (folder / name).is_file():
            raise MissingInputError(f"{folder / name}: the bundle lists this file, but it does not exist. {FIX}")
        if (found := sha256_of(folder / name)) != expected:
            raise IntegrityError(
                f"{folder / name}: the file was changed after the bundle was made.\n"
                f"  sha256: expected {expected}, found {found}\n{FIX}"
            )
    present = {path.name for path in folder.iterdir() if path.suffix in _GUARDED}
    if unlisted := sorted(present - document.files.keys() - {BUNDLE}):
        raise ContractError(
            f"{folder}: expected only files that {BUNDLE} lists, found also {', '.join(unlisted)}. "
            "Fix: move them to another folder"
        )


def _check_parts(
    place: Path, document: BundleDocument, paths: Mapping[str, Path]
) -> tuple[dict[str, BundledDecoder], Path | None, Path | None]:
    """The decoders, and the files of OrganHead and of the novelty; each belongs to the bundle.

    Args:
        place: Where the document lies, for messages.
    """
    _check_names(place, document)
    with fix_of_bundle():
        decoders = {family: _decoder(place, document, paths, family) for family in document.decoders}
        for name in paths:
            family = name.removeprefix("hovernet_").removesuffix(".safetensors")
            if name == checkpoint_name(family) and family not in decoders:
                check_value(paths[name], "status", "absent", read_header(paths[name]).status)
        organ_head = paths.get(ORGAN_HEAD_NAME)
        if organ_head and read_header(organ_head).status == "absent":
            organ_head = None
        if organ_head:
            expected = {"kind": "organ_head", "organs": document.dataset.organs}
            check_model(organ_head, _of_models(document) | expected, document.encoder, document.dataset)
        novelty = _novelty(document, paths)
    return decoders, organ_head, novelty


def _check_names(place: Path, document: BundleDocument) -> None:
    """The entries of the document agree with each other."""
    if document.provenance.data_set is None:
        raise ContractError(f"{place}: provenance.data_set: expected the data set of the models, found none. {FIX}")
    check_encoder(place, document.encoder)
    families, organs = sorted(document.decoders), set(document.dataset.organs)
    for entry, used in (
        ("default_decoder", {document.default_decoder}),
        ("decoder_of", {*document.decoder_of.values()}),
    ):
        if unknown := sorted(used - {*families}):
            raise ContractError(f"{place}: {entry}: expected one of {families}, found {', '.join(unknown)}. {FIX}")
    named = {*document.decoder_of, *(organ for of_decoder in document.decoders.values() for organ in of_decoder)}
    if unknown := sorted(named - organs):
        raise ContractError(f"{place}: expected organs of {document.dataset.name}, found {', '.join(unknown)}. {FIX}")


def _decoder(place: Path, document: BundleDocument, paths: Mapping[str, Path], family: str) -> BundledDecoder:
    for name in (checkpoint_name(family), watershed_name(family)):
        if name not in paths:
            raise ContractError(f"{place}: files: expected {name} of decoder {family}, found none.")
    checkpoint, watershed = paths[checkpoint_name(family)], paths[watershed_name(family)]
    expected = {"kind": "hovernet", "family": family, "classes": document.dataset.class_names}
    check_model(checkpoint, _of_models(document) | expected, document.encoder, document.dataset)
    choice = read_document(watershed, WatershedChoice)
    if choice.status == "absent":
        raise ContractError(f"{watershed}: status: expected tuned or default, found absent.")
    calibration = None
    if file := paths.get(calibration_name(family)):
        calibration = read_document(file, DecoderCalibration)
        check_belongs(file, calibration, document.split, checkpoint)
    check_belongs(watershed, choice, document.split, checkpoint)
    return BundledDecoder(family, checkpoint, choice, calibration)


def _of_models(document: BundleDocument) -> dict[str, Any]:
    """What the headers of all models of a bundle have in common."""
    return {
        "status": "trained",
        "split": document.split,
        "final": document.final,
        "folds": document.folds,
        "mpp": document.dataset.mpp,
    }


def _novelty(document: BundleDocument, paths: Mapping[str, Path]) -> Path | None:
    path = paths.get(NOVELTY_NAME)
    header = read_novelty_header(path) if path else None
    if path is None or header is None or header.status == "absent":
        return None
    check_value(path, "split", document.split, header.split)
    check_value(path, "data_set", document.dataset, header.dataset)
    check_same_encoder(path, document.encoder, header.encoder)
    return path
