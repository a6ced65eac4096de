"""The organ of an image: as the user gives it, or as OrganHead sees it in tiles of the whole analysed area."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64, UInt8

from cellvit.data.batches import read_ahead
from cellvit.data.slides.area import Area
from cellvit.data.slides.model_pixels import ModelPixels
from cellvit.errors import SettingsError
from cellvit.formats.prediction import OrganChoice
from cellvit.inference.lanes import in_lanes
from cellvit.inference.passes import block_size
from cellvit.prediction.models import Ensemble, TilePredictor
from cellvit.taxonomy import TILE_PX

VOTING_TILES: Final = 512
"""Tiles that vote at most (decision): the mean over more changes little, and 512 tiles are encoded in seconds on a GPU."""

_SHOWN: Final = 5
"""Organs that a record names."""

_WHITE: Final = 220
"""A pixel whose darkest channel is brighter is glass (decision: in H&E, tissue absorbs at least a tenth of green)."""

_TISSUE_SHARE: Final = 0.1
"""A tile with a smaller share of tissue does not vote, unless none has more."""


def given_organ(name: str, ensemble: Ensemble) -> OrganChoice:
    """The organ that the user gave, by the name that the models know.

    Raises:
        SettingsError: The models know no organs, or none of that name; the message has the nearest name.
    """
    known = sorted({organ for model in ensemble.models for organ in model.bundle.document.dataset.organs})
    if not known:
        raise SettingsError(
            f"organ: expected none, because the models know no organs, found {name!r}. Fix: leave the organ out"
        )
    found = {_plain(organ): organ for organ in known}.get(_plain(name))
    if found is None:
        by_plain = {_plain(organ): organ for organ in known}
        near = difflib.get_close_matches(_plain(name), by_plain, n=1)
        fix = f"write {by_plain[near[0]]}" if near else "write one of these names, or leave the organ out"
        raise SettingsError(f"organ: expected one of {', '.join(known)}, found {name!r}. Fix: {fix}")
    return OrganChoice(organ=found, chosen_by="given", decoder=_families(ensemble, found))


def no_organ(ensemble: Ensemble) -> OrganChoice:
    """The default decoder, where no organ is needed or can be predicted."""
    return OrganChoice(chosen_by="none", decoder=_families(ensemble, ""))


def is_predicted(ensemble: Ensemble) -> bool:
    """Whether the models have an OrganHead, and decoders to choose from."""
    return any(model.organ_head is not None and model.bundle.document.decoder_of for model in ensemble.models)


def predicted_organ(
    predictor: TilePredictor,
    pixels: ModelPixels,
    places: Int64[np.ndarray, "n 2"],
    *,
    batch_size: int | None = None,
    lanes: int = 1,
) -> OrganChoice:
    """The organ with the highest mean probability over tiles of the image.

    Args:
        places: Left and top of the tiles in px of the model (`voting_places`).
        batch_size: Tiles that are encoded together; None chooses by the device.
        lanes: Batches that are encoded at a time (`cellvit.inference.lanes`).
    """
    ensemble = predictor.ensemble
    size = block_size(ensemble.encoder, 1, batch_size)
    votes: dict[str, list[np.ndarray]] = {}
    shares: list[np.ndarray] = []
    batches = read_ahead(lambda part: _read(pixels, part), np.array_split(places, -(-len(places) // size)))
    for images, cls in in_lanes(
        lambda found: predictor.cls(torch.from_numpy(found).to(ensemble.device)), batches, lanes
    ):
        shares.append((images.min(axis=3) < _WHITE).mean(axis=(1, 2)))
        for organ, values in ensemble.organ_probabilities(cls).items():
            votes.setdefault(organ, []).append(values)
    tissue = np.concatenate(shares) >= _TISSUE_SHARE
    voting: Bool[np.ndarray, " n"] = tissue if tissue.any() else np.ones(len(tissue), bool)
    means = {organ: float(np.concatenate(values)[voting].mean(dtype=np.float64)) for organ, values in votes.items()}
    order = sorted(means, key=lambda organ: (-means[organ], organ))
    return OrganChoice(
        organ=order[0],
        chosen_by="predicted",
        votes={organ: means[organ] for organ in order[:_SHOWN]},
        n_tiles=int(voting.sum()),
        decoder=_families(ensemble, order[0]),
    )


def voting_places(pixels: ModelPixels, area: Area) -> Int64[np.ndarray, "n 2"]:
    """Left and top of tiles of a grid without overlap whose centres lie in the area, evenly spread over it.

    Where no centre does, as in a small region, the tile around a point of the area.
    """
    x, y = (np.arange(0, max(side - TILE_PX, 0) + 1, TILE_PX) for side in (pixels.width, pixels.height))
    places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    centre = np.minimum(places + TILE_PX / 2, [pixels.width / 2 if pixels.width < TILE_PX else np.inf,
                                               pixels.height / 2 if pixels.height < TILE_PX else np.inf])  # fmt: skip
    inside = area.contains(*(centre * pixels.scale).T)
    if not inside.any():
        return _around(pixels, area)
    found = places[inside]
    spread = np.unique(np.linspace(0, len(found) - 1, min(len(found), VOTING_TILES)).round().astype(np.int64))
    chosen: Int64[np.ndarray, "n 2"] = found[spread]
    return chosen


def families_of(ensemble: Ensemble, organ: str) -> tuple[str, ...]:
    """Decoder of an organ in each bundle."""
    return tuple(model.decoder_of(organ) for model in ensemble.models)


def _around(pixels: ModelPixels, area: Area) -> Int64[np.ndarray, "1 2"]:
    point = area.geometry.representative_point()
    at: Float64[np.ndarray, " 2"] = np.array([point.x, point.y]) / pixels.scale - TILE_PX / 2
    last = np.maximum([pixels.width - TILE_PX, pixels.height - TILE_PX], 0)
    return np.clip(at.round().astype(np.int64), 0, last)[None]


def _read(pixels: ModelPixels, places: Int64[np.ndarray, "b 2"]) -> UInt8[np.ndarray, "b 256 256 3"]:
    return np.stack([pixels.read(x, y, TILE_PX, TILE_PX) for x, y in places.tolist()])


def _families(ensemble: Ensemble, organ: str) -> str:
    return ", ".join(_distinct(families_of(ensemble, organ)))


def _distinct(names: Iterable[str]) -> Sequence[str]:
    return list(dict.fromkeys(names))


def _plain(name: str) -> str:
    """A name without case and separators.

    Examples:
        >>> _plain("Bile-duct"), _plain("adrenal gland")
        ('bileduct', 'adrenalgland')
    """
    return "".join(letter for letter in name.lower() if letter.isalnum())
