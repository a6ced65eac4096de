"""Bundles on one device: 8-bit tiles -> maps, CLS tokens and organ probabilities; several bundles are averaged."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float16, Float32, UInt8
from torch import Tensor

from cellvit.config.steps import ExtractFeaturesSettings
from cellvit.config.views import GEOMETRIES
from cellvit.data.views import apply_view, views_of
from cellvit.errors import AbsentModelError, IntegrityError, MissingInputError, StaleFileError
from cellvit.formats.bundle import Bundle, BundledDecoder
from cellvit.formats.digests import sha256_of
from cellvit.formats.novelty import Novelty, read_novelty
from cellvit.hover.decode import Watershed, watershed_of_method
from cellvit.inference.loading import Loaded
from cellvit.inference.maps import load_decoder, tiles_per_pass
from cellvit.inference.organs import load_organ_head
from cellvit.inference.passes import Passes
from cellvit.inference.pixel_maps import PixelMaps, mean_of, pixel_maps, turned_back
from cellvit.models.device import autocast
from cellvit.models.encoder import Encoder, load_encoder
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.models.organ_head import OrganHead

log = logging.getLogger(__name__)

_IDENTITY: Final = 0
"""Number of the geometry that changes nothing."""


@dataclass(frozen=True, slots=True)
class Model:
    """One bundle, loaded.

    Attributes:
        organ_head, novelty: None where the bundle has none.
    """

    bundle: Bundle
    organ_head: Loaded[OrganHead] | None
    novelty: Novelty | None

    def decoder_of(self, organ: str) -> str:
        """Family of the decoder of an organ; of the default decoder where the organ is unknown or has none."""
        document = self.bundle.document
        return document.decoder_of.get(organ, document.default_decoder)


@dataclass(frozen=True, slots=True)
class Ensemble:
    """One bundle or several with the same encoder, which is loaded once."""

    encoder: Encoder
    models: tuple[Model, ...]
    weights_sha256: str

    @property
    def device(self) -> torch.device:
        """Device on which everything is computed."""
        return self.encoder.device

    @torch.inference_mode()
    def organ_probabilities(self, cls: Float32[Tensor, "b dim"]) -> dict[str, Float32[np.ndarray, " b"]]:
        """Calibrated probability of each organ, the mean over the bundles with an OrganHead; empty without any."""
        sums: dict[str, Float32[np.ndarray, " b"]] = {}
        heads = [model.organ_head for model in self.models if model.organ_head is not None]
        for head in heads:
            found = head.module.probabilities(cls).cpu().numpy()
            for number, organ in enumerate(head.header.organs):
                sums[organ] = sums.get(organ, np.float32(0)) + found[:, number] / np.float32(len(heads))
        return sums

    def decoders(self, families: Sequence[str], *, average_views: bool) -> tuple["ReadyDecoder", ...]:
        """Load the decoder of one family of each bundle."""
        return tuple(
            _ready(model.bundle.decoders[family], model.bundle, self.encoder, average_views=average_views)
            for model, family in zip(self.models, families, strict=True)
        )

    def unlike(self, cls: Float32[np.ndarray, "b dim"]) -> Bool[np.ndarray, " b"]:
        """True for tiles that most of the bundles with a novelty model call unlike their training data."""
        novelties = [model.novelty for model in self.models if model.novelty is not None]
        votes = np.zeros(len(cls), np.int64)
        for novelty in novelties:
            votes += novelty.unlike(cls)
        return 2 * votes > len(novelties)

    @property
    def judges(self) -> bool:
        """Whether any bundle has a novelty model."""
        return any(model.novelty is not None for model in self.models)


@dataclass(frozen=True, slots=True)
class ReadyDecoder:
    """A decoder of a bundle, and how it is used.

    Attributes:
        positions: Of the blocks that it reads among those of the encoder.
        geometries: Flips and rotations of a tile over which its maps are averaged, identity first.
        watershed: What turns its maps into nuclei.
        temperature: Of its class probabilities; 1 where they are not calibrated.
    """

    family: str
    loaded: Loaded[HoVerNetDecoder]
    positions: tuple[int, ...]
    geometries: tuple[int, ...]
    watershed: Watershed
    temperature: float

    def maps(self, tokens: Float16[Tensor, "b blocks g g dim"], image: UInt8[Tensor, "b 3 256 256"]) -> PixelMaps:
        """Maps of tiles, a few at a time, so that the activations stay small."""
        module, size = self.loaded.module, tiles_per_pass(self.loaded.device)
        parts = []
        for own, pixels in zip(tokens.split(size), image.split(size), strict=True):
            with autocast(image.device):
                raw = module(own[:, list(self.positions)], pixels if module.reads_image else None)
            parts.append(pixel_maps(raw))
        return parts[0] if len(parts) == 1 else PixelMaps(*map(torch.cat, zip(*parts, strict=True)))


class TileMaps(NamedTuple):
    """What is predicted for a batch of tiles, on the device.

    Attributes:
        maps: Averaged over views and bundles.
        largest: Largest magnitude of the tokens (`cellvit.models.encoder.check_range`).
    """

    maps: PixelMaps
    cls: Float32[Tensor, "b dim"]
    largest: Float32[Tensor, ""]


class TilePredictor:
    """Predicts maps of tiles with one decoder of each bundle.

    Args:
        fallback: Decoders of tiles that are unlike the training data; None to decode all tiles alike.
        shrinks: True if a pass of the encoder may be halved where the memory of the device is full.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        decoders: Sequence[ReadyDecoder],
        *,
        fallback: Sequence[ReadyDecoder] | None = None,
        shrinks: bool = True,
    ) -> None:
        self.ensemble, self.decoders, self.fallback = ensemble, tuple(decoders), fallback
        self._passes = Passes(ensemble.encoder, shrinks=shrinks)

    @torch.inference_mode()
    def predicted(self, images: UInt8[Tensor, "b 256 256 3"]) -> TileMaps:
        """Maps of tiles that are on the device; the host waits for the device only where there is a fallback."""
        found = self._predicted(images, self.decoders)
        if self.fallback is not None:
            unlike = torch.from_numpy(self.ensemble.unlike(found.cls.cpu().numpy())).to(images.device)
            if unlike.any():
                again = self._predicted(images[unlike], self.fallback).maps
                for whole, part in zip(found.maps, again, strict=True):
                    whole[unlike] = part
        return found

    @torch.inference_mode()
    def cls(self, images: UInt8[Tensor, "b 256 256 3"]) -> Float32[Tensor, "b dim"]:
        """CLS tokens alone."""
        return torch.cat([part.cls for part in self._passes.run(images)])

    def _predicted(self, images: UInt8[Tensor, "b 256 256 3"], decoders: Sequence[ReadyDecoder]) -> TileMaps:
        """One pass of the encoder for each geometry that any decoder is shown, identity first."""
        views: list[list[PixelMaps]] = [[] for _ in decoders]
        cls, largest = images.new_empty(0, dtype=torch.float32), list[Tensor]()
        for geometry in sorted({number for decoder in decoders for number in decoder.geometries}):
            shown = apply_view(images, geometry, axes=(1, 2)).contiguous()
            parts = self._passes.run(shown)
            tokens = torch.cat([part.tokens for part in parts])
            largest += [part.largest for part in parts]
            if geometry == _IDENTITY:
                cls = torch.cat([part.cls for part in parts])
            pixels = shown.permute(0, 3, 1, 2)
            for decoder, seen in zip(decoders, views, strict=True):
                if geometry in decoder.geometries:
                    seen.append(turned_back(decoder.maps(tokens, pixels), geometry))
        return TileMaps(mean_of(mean_of(iter(seen)) for seen in views), cls, torch.stack(largest).amax())


def load_ensemble(bundles: Sequence[Bundle], device: torch.device, *, encoder_weights: Path | None = None) -> Ensemble:
    """The bundles on a device, with their encoder.

    Args:
        encoder_weights: File of the weights of the encoder, where it is not the one that the settings of the training name.

    Raises:
        StaleFileError: The bundles do not belong together.
        IntegrityError: The weights of the encoder are not those that the bundles were trained with.
        MissingInputError: The weights of the encoder are not available.
    """
    check_together(bundles)
    first = bundles[0]
    settings = _encoder_settings(first)
    if encoder_weights is not None:
        settings = settings.model_copy(
            update={"encoder": settings.encoder.model_copy(update={"weights": str(encoder_weights)})}
        )
    try:
        encoder = load_encoder(settings.encoder, settings.features, device)
    except MissingInputError as error:
        error.add_note("or give the file of the weights: --encoder-weights FILE")
        raise
    digest = sha256_of(encoder.weights) if encoder.weights else ""
    for bundle in bundles:
        if bundle.document.encoder_sha256 != digest:
            raise IntegrityError(
                f"{bundle.folder}: encoder_sha256: the models were trained with other weights of the encoder: expected "
                f"{bundle.document.encoder_sha256 or 'random weights'}, found {digest or 'random weights'}"
                f"{f' ({encoder.weights})' if encoder.weights else ''}. Fix: --encoder-weights FILE with the weights of the "
                "training"
            )
    return Ensemble(encoder, tuple(_model(bundle, device) for bundle in bundles), digest)


def check_together(bundles: Sequence[Bundle]) -> None:
    """Refuse bundles whose maps cannot be averaged.

    Raises:
        StaleFileError: Encoder, classes or resolution differ; the message names the bundles.
    """
    first, *others = bundles
    expected = _must_be_equal(first)
    for other in others:
        found = _must_be_equal(other)
        differing = [name for name in expected if expected[name] != found[name]]
        if differing:
            lines = "".join(f"\n  {name}: {expected[name]} and {found[name]}" for name in differing)
            raise StaleFileError(
                f"{first.folder} and {other.folder}: only bundles with the same encoder, classes and resolution can be "
                f"averaged; these differ:{lines}\nFix: predict with each of them alone"
            )


def _must_be_equal(bundle: Bundle) -> dict[str, Any]:
    settings, data_set = _encoder_settings(bundle), bundle.document.dataset
    return {
        "encoder": settings.encoder.model_dump(mode="json", exclude={"weights"}),
        "weights of the encoder": bundle.document.encoder_sha256 or "random",
        "input_px": settings.features.input_px,
        "blocks": settings.blocks,
        "classes": data_set.class_names,
        "mpp": data_set.mpp,
    }


def _encoder_settings(bundle: Bundle) -> ExtractFeaturesSettings:
    record = bundle.document.encoder
    return ExtractFeaturesSettings.model_validate({name: record[name] for name in ("encoder", "features")})


def _model(bundle: Bundle, device: torch.device) -> Model:
    head = load_organ_head(bundle.organ_head, device) if bundle.organ_head else None
    return Model(bundle, head, _novelty(bundle.novelty) if bundle.novelty else None)


def _novelty(path: Path) -> Novelty | None:
    try:
        return read_novelty(path)
    except AbsentModelError as error:
        log.info("no tile can be called unlike the training data: %s", error)
        return None


def _ready(decoder: BundledDecoder, bundle: Bundle, encoder: Encoder, *, average_views: bool) -> ReadyDecoder:
    """Where its decoding was tuned on averaged maps, it is shown the same views; all eight where that is asked for."""
    loaded, choice = load_decoder(decoder.checkpoint, encoder.device), decoder.watershed
    geometries: tuple[int, ...] = (_IDENTITY,)
    if average_views:
        geometries = tuple(range(len(GEOMETRIES)))
    elif choice.average_views:
        stored = views_of(_encoder_settings(bundle).features)
        geometries = tuple(view.geometry for view in stored if not view.colour)
    return ReadyDecoder(
        family=decoder.family,
        loaded=loaded,
        positions=tuple(encoder.blocks.index(block) for block in loaded.header.encoder["blocks"]),
        geometries=geometries,
        watershed=watershed_of_method(choice.method, choice.parameters),
        temperature=decoder.calibration.temperature if decoder.calibration else 1.0,
    )
