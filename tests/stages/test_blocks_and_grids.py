"""From tiles to maps with tokens of several blocks, with finer grids and with stored views."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cellvit.config.steps import ExtractFeaturesSettings, TrainHovernetSettings
from cellvit.errors import StaleFileError
from cellvit.formats.checkpoints import read_header
from cellvit.formats.family import open_family, write_members
from cellvit.inference.maps import load_decoder, predict_maps
from cellvit.inference.predictions import MapBatch
from cellvit.stages import extract_features, train_hovernet

FOLDS = (1, 2)
ENCODER = {"preset": "tiny-vit", "weights": "random"}


@pytest.fixture
def extracted(tmp_path: Path, write_tile_store: Callable[..., Path]) -> Callable[..., train_hovernet.Arguments]:
    """Extract two folds of two tiles with the given settings, the identity view unless they name others.

    The result is the arguments of a training on the first fold.
    """

    def extract(**features: object) -> train_hovernet.Arguments:
        asked_for = {"views": ["identity"], **features}
        settings = ExtractFeaturesSettings.model_validate({"encoder": ENCODER, "features": asked_for})
        paths = {
            kind: tuple(tmp_path / f"{kind}/fold{n}.h5" for n in FOLDS) for kind in ("tiles", "features", "members")
        }
        for fold, (tiles, store, members) in enumerate(zip(*paths.values(), strict=True), 1):
            write_tile_store(tiles, fold, ["Colon"] * 2)
            stores = {"tiles": tiles, "check": tiles, "features": store}
            extract_features.run(extract_features.Arguments(settings=settings, **stores, device="cpu"))
            write_members(members, fold=fold, organs=["Colon"], tiles=tiles, features=store)
        outputs = {"checkpoint": tmp_path / "hovernet.safetensors", "history": tmp_path / "history.csv"}
        outputs["maps"] = tmp_path / "maps.h5"
        folds = {"train_folds": (1,), "validate_folds": (2,)}
        return train_hovernet.Arguments(
            settings=asked(), split="1", family="digestive", **folds, **paths, **outputs, device="cpu"
        )

    return extract


def asked(blocks: list[int] | None = None, **training: object) -> TrainHovernetSettings:
    decoder = {"widths": [8] * 5, "stem_widths": [4, 6], "blocks": blocks}
    training = {"steps": 1, "batch_size": 2, **training}
    return TrainHovernetSettings.model_validate({"decoder": decoder, "training": training, "seed": 0})


def predicted(given: train_hovernet.Arguments) -> MapBatch:
    decoder = load_decoder(given.checkpoint, torch.device("cpu"))
    with open_family(given.members, given.tiles, given.features) as data:
        (maps,) = predict_maps(decoder, data.features, data.tiles, data.rows_of_folds([2]))
    return maps


@pytest.mark.parametrize(("input_px", "grid"), [(224, 16), (252, 18), (448, 32)])
def test_every_step_follows_the_grid_of_the_input_size(extracted, input_px, grid) -> None:
    given = extracted(input_px=input_px)

    train_hovernet.run(given)

    assert read_header(given.checkpoint).architecture["grid"] == grid
    assert predicted(given).np_prob.shape == (2, 256, 256)


def test_a_decoder_of_another_input_size_is_refused_with_both_sizes(extracted) -> None:
    train_hovernet.run(extracted(input_px=224))

    with pytest.raises(StaleFileError, match="input_px: model has 224, file has 252"):
        predicted(extracted(input_px=252))


def test_decoders_choose_among_the_stored_blocks_without_another_extraction(extracted) -> None:
    given = extracted(blocks=(0, 2, 3))

    for blocks, expected in ((None, [0, 2, 3]), ([3, 0], [3, 0])):
        train_hovernet.run(replace(given, settings=asked(blocks)))
        header = read_header(given.checkpoint)
        assert (header.encoder["blocks"], header.architecture["blocks"]) == (expected, len(expected))
        assert len(predicted(given)) == 2


def test_stored_views_train_a_decoder_and_only_if_they_are_stored(extracted) -> None:
    given = replace(extracted(views=("dihedral8",), colour_views=1), settings=asked(views="stored"))

    train_hovernet.run(given)

    assert len(predicted(given)) == 2
    with pytest.raises(StaleFileError, match="identity"):
        train_hovernet.run(replace(extracted(), settings=asked(views="stored")))
