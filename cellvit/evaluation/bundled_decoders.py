"""Which decoders of a run are in a bundle, and which of them decodes the tiles of which organ."""

from collections import Counter
from collections.abc import Mapping, Sequence

from cellvit.errors import AbsentModelError
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.evaluations import DecoderChoice
from cellvit.taxonomy import SHARED_FAMILY


def trained_decoders(headers: Mapping[str, CheckpointHeader]) -> tuple[str, ...]:
    """Families that have a decoder.

    Raises:
        AbsentModelError: None of them has.
    """
    trained = tuple(family for family, header in headers.items() if header.status == "trained")
    if not trained:
        reasons = "\n".join(f"  {family}: {header.reason}" for family, header in headers.items())
        raise AbsentModelError(
            f"no decoder could be trained, so that there is nothing to bundle:\n{reasons}\n"
            "Fix: add tiles of these organs to the training folds, or set other splits or families"
        )
    return trained


def decoders_of_organs(
    organs_of: Mapping[str, Sequence[str]], trained: Sequence[str], choices: Sequence[DecoderChoice]
) -> dict[str, str]:
    """Decoder of each organ. An organ without any decoder of its own or of all organs is left out.

    Args:
        organs_of: Organs of each decoder.
        choices: What the routing chose, in one split or in several: then the decoder that most of them chose, and that of
            the organ's family if equally many did.
    """
    families = [family for family in organs_of if family != SHARED_FAMILY] or list(organs_of)
    found: dict[str, str] = {}
    for family in families:
        for organ in organs_of[family]:
            votes = Counter(one.decoder for one in choices if one.organ == organ and one.decoder in trained)
            candidates = [name for name in (family, SHARED_FAMILY) if name in trained]
            if votes:
                found[organ] = max(votes, key=lambda name: (votes[name], name == family))  # called at once
            elif candidates:
                found[organ] = candidates[0]
    return found


def default_decoder(headers: Mapping[str, CheckpointHeader], trained: Sequence[str]) -> str:
    """The shared decoder if there is one, else the decoder with the most training tiles, the first of equal ones."""
    if SHARED_FAMILY in trained:
        return SHARED_FAMILY
    return max(trained, key=lambda family: headers[family].tiles.get("train", 0))
