"""Which decoder decodes the tiles of which organ: that of its family or the shared one, chosen on validation tiles."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float64, Shaped

from cellvit.config.evaluation import RoutingSettings
from cellvit.evaluation.values import paired, value_of
from cellvit.formats.documents import Value
from cellvit.formats.evaluations import DecoderChoice
from cellvit.formats.tile_table import TileScores
from cellvit.formats.tiles import groups_of
from cellvit.formats.watershed import WatershedChoice
from cellvit.metrics.intervals import interval_of_mean
from cellvit.taxonomy import SHARED_FAMILY

MIN_TILES: Final = 10
"""An organ with fewer validation tiles gets the decoder that is better on all validation tiles of its family."""


def choose_decoders(
    families: Mapping[str, Sequence[str]], tuned: Mapping[str, WatershedChoice], routing: RoutingSettings
) -> tuple[DecoderChoice, ...]:
    """The decoder of every organ. Ties, and organs that no validation tile compares, keep the decoder of the family.

    Args:
        families: Organs of each family.
        tuned: What was chosen on the validation tiles, for each family with a decoder and for that of all organs.
    """
    return tuple(choice for family, organs in families.items() for choice in _of_family(family, organs, tuned, routing))


def choices_in_words(choices: Sequence[DecoderChoice], *, n_splits: int) -> str:
    """One line of how many organs have the shared decoder; empty if there is none to choose."""
    of_shared = [choice.chosen_by for choice in choices if choice.decoder == SHARED_FAMILY]
    if not of_shared and not any(choice.chosen_by in ("organ", "family") for choice in choices):
        return ""
    n, alone = len(of_shared), of_shared.count("alone")
    where = f" in {n_splits} splits" if n_splits > 1 else ""
    reasons = ["chosen on validation tiles"] if n > alone else []
    reasons += [f"{alone} of them have no decoder of their family"] if alone else []
    why = f" ({'; '.join(reasons)})" if reasons else ""
    return f"{n} of {len(choices)} organs{where} use the shared decoder{why}."


def with_test_differences(
    choices: Iterable[DecoderChoice], scores: Mapping[str, TileScores]
) -> tuple[DecoderChoice, ...]:
    """The choices, with the paired difference of both decoders on the test tiles of each organ that has them.

    Args:
        scores: Scores of the test tiles by the family of the decoder.
    """
    return tuple(choice.model_copy(update={"test": _on_test_tiles(choice, scores)}) for choice in choices)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Validation tiles on which the metric of a family's decoder and of the shared decoder is defined."""

    organs: Shaped[np.ndarray, " n"]
    patients: Shaped[np.ndarray, " n"]
    own: Float64[np.ndarray, " n"]
    shared: Float64[np.ndarray, " n"]

    def of_organ(self, organ: str) -> "_Pairs":
        here = self.organs == organ
        return _Pairs(self.organs[here], self.patients[here], self.own[here], self.shared[here])

    @property
    def is_shared_better(self) -> bool:
        """Whether the mean of the paired differences is in favour of the shared decoder."""
        return bool((self.own - self.shared).mean() < 0)

    @property
    def values(self) -> dict[str, Value]:
        groups = groups_of(self.patients.tolist())
        return {
            "own": value_of(interval_of_mean(self.own, groups=groups)),
            "shared": value_of(interval_of_mean(self.shared, groups=groups)),
            "difference": value_of(interval_of_mean(self.own - self.shared, scale="real", groups=groups)),
        }


def _of_family(
    family: str, organs: Sequence[str], tuned: Mapping[str, WatershedChoice], routing: RoutingSettings
) -> Iterator[DecoderChoice]:
    known = [name for name in (family, SHARED_FAMILY) if name in tuned]
    metric = tuned[known[0]].select_by if known else ""
    if len(known) < 2:
        decoder = known[0] if known else ""
        for organ in organs:
            yield DecoderChoice(organ=organ, family=family, decoder=decoder, chosen_by="alone", metric=metric)
        return
    pairs = _pairs(tuned[family], tuned[SHARED_FAMILY])
    for organ in organs:
        of_organ = pairs.of_organ(organ)
        fields: dict[str, Any] = of_organ.values if len(of_organ.own) else {}
        if routing.decoder == "family":
            fields |= {"decoder": family, "chosen_by": "setting"}
        elif not len(pairs.own):
            fields |= {"decoder": family, "chosen_by": "undefined"}
        else:
            enough = len(of_organ.own) >= MIN_TILES
            is_shared = (of_organ if enough else pairs).is_shared_better
            fields |= {
                "decoder": SHARED_FAMILY if is_shared else family,
                "chosen_by": "organ" if enough else "family",
            }
        yield DecoderChoice(organ=organ, family=family, metric=metric, **fields)


def _pairs(own: WatershedChoice, shared: WatershedChoice) -> _Pairs:
    """Pairs by tile; none if both were tuned by different metrics, whose values cannot be compared."""
    values = {tile.tile_id: tile.value for tile in shared.validation} if own.select_by == shared.select_by else {}
    both = [tile for tile in own.validation if not np.isnan(tile.value - values.get(tile.tile_id, np.nan))]
    return _Pairs(
        np.array([tile.organ for tile in both], np.str_),
        np.array([tile.patient for tile in both], np.str_),
        np.array([tile.value for tile in both], np.float64),
        np.array([values[tile.tile_id] for tile in both], np.float64),
    )


def _on_test_tiles(choice: DecoderChoice, scores: Mapping[str, TileScores]) -> Value | None:
    if choice.family not in scores or SHARED_FAMILY not in scores:
        return None
    own = scores[choice.family]
    own, shared = paired(own.where(own.organs == choice.organ), scores[SHARED_FAMILY])
    if not len(own):
        return None
    difference = own.column(choice.metric) - shared.column(choice.metric)
    return value_of(interval_of_mean(difference, scale="real", groups=own.groups))
