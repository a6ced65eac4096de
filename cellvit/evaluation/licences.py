"""What the licences of data and encoder mean for models and their predictions."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cellvit.config.encoders import EncoderSettings
from cellvit.formats.dataset import DataSet

_FORBIDDEN: Final = re.compile(r"\bnon-?commercial\b|\bNC\b", re.IGNORECASE)
"""As Creative Commons writes it, and as the page of H-optimus-1 does."""

_ALLOWED: Final = re.compile(r"\b(Apache|MIT|BSD|CC0)\b|\bCC BY(-SA)?(?![-\w])", re.IGNORECASE)
"""Licences that allow commercial use."""

_USE: Final = {
    True: "Commercial use is allowed",
    False: "Commercial use of the models and of their predictions is not allowed",
    None: "It is not known whether commercial use is allowed",
}


@dataclass(frozen=True, slots=True)
class Licences:
    """What holds for models and their predictions.

    Attributes:
        encoder: Licence of the weights of the encoder; empty for random weights.
        commercial_use: False if a licence forbids it; None if that is not known of one of them.
        text: All of it, as sentences.
    """

    encoder: str
    commercial_use: bool | None
    text: str


def licences_of(data_set: DataSet, encoder: EncoderSettings, of_weights: Iterable[str]) -> Licences:
    """Licences of a data set, of the encoder, and of the weights of decoders.

    Args:
        of_weights: As the headers of checkpoints record them. A decoder that started from the weights of another has the
            licences of both.
    """
    clauses = dict.fromkeys(clause for licence in of_weights for clause in licence.split("; ") if clause)
    licence = "" if encoder.untrained else encoder.spec.licence
    uses = [data_set.commercial_use, *map(commercial_use_in, clauses)]
    if licence:
        uses.append(commercial_use_in(licence))
    allowed = False if False in uses else None if None in uses else True
    sentences = [clause[0].upper() + clause[1:] for clause in clauses]
    if licence:
        sentences.append(f"The licence of the encoder {encoder.preset} is: {licence}")
    return Licences(licence, allowed, ". ".join([*sentences, _USE[allowed]]) + ".")


def commercial_use_in(licence: str) -> bool | None:
    """Whether the text of a licence allows commercial use; None if it does not say.

    Examples:
        >>> [commercial_use_in(text) for text in ("CC BY-NC-SA 4.0", "Apache-2.0", "CC BY-ND 4.0")]
        [False, True, None]
        >>> commercial_use_in("weights trained on Own inherit X (commercial use is allowed)")
        True
    """
    if _FORBIDDEN.search(licence):
        return False
    return True if _ALLOWED.search(licence) or "(commercial use is allowed)" in licence else None
