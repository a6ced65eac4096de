"""A bundle: trained models with everything that their use needs, in one folder that can be copied.

The folder holds `bundle.json` (a `BundleDocument`), the files that it lists with their digests, and a model card, README.md.
Weights are safetensors; nothing is pickled, and loading executes nothing. The weights of the encoder are not in it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from cellvit.formats.calibration import DecoderCalibration
from cellvit.formats.documents import Document
from cellvit.formats.watershed import WatershedChoice

BUNDLE: Final = "bundle.json"
CARD: Final = "README.md"


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


ORGAN_HEAD_NAME: Final = "organ_head.safetensors"
NOVELTY_NAME: Final = "novelty.safetensors"
