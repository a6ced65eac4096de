"""Tokens of a view, and the image and ground truth that a decoder is given with them, show the same tile."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
import torch

from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.config.steps import ExtractFeaturesSettings
from cellvit.config.views import GEOMETRIES
from cellvit.data.batches import SampledRows, SampledViews, sampled_batches
from cellvit.data.blur import blurred, gaussian_kernels
from cellvit.data.stain import mixed, stain_mix
from cellvit.data.views import View, apply_view, seen, views_of
from cellvit.errors import StaleFileError
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.features import FEATURES, open_features
from cellvit.formats.hdf5 import Store
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import TILES, TileBatch, append_tiles, open_tiles
from cellvit.formats.writing import writing
from cellvit.hover.encode import hv_maps
from cellvit.inference.stored_views import IDENTITY_ONLY, stored_views
from cellvit.inference.tensors import TensorBatch, on_device
from cellvit.models.encoder import load_encoder

CPU = torch.device("cpu")
CELL_PX, CELL = 16, (3, 11)
"""The marked cell: not in a symmetric place, so that the eight views move it to eight cells."""

SETTINGS = ExtractFeaturesSettings(
    encoder=EncoderSettings(preset="tiny-vit", weights="random"),
    features=FeaturesSettings(views=("dihedral8",), colour_views=2, colour_seed=5, colour_sigma=0.1),
)


class Marked(NamedTuple):
    """Stores of two grey tiles, the first with a bright patch that is its one nucleus."""

    features: Store
    tiles: Store
    images: torch.Tensor
    ids: tuple[str, str]

    def shown(self, place: int) -> TensorBatch:
        """Both tiles in the stored view at `place`, as a decoder in training gets them."""
        sampled = SampledViews(stored=np.array([place, place]), transforms=np.array([0, 0]))
        (batch,) = sampled_batches(self.features, self.tiles, [SampledRows(np.arange(2), sampled)], blocks=(0,))
        return on_device(batch, CPU, stored_views(self.features))


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Marked]:
    folder, ids = tmp_path_factory.mktemp("marked"), ("f1-00000", "f1-00001")
    patch = tuple(slice(side * CELL_PX, (side + 1) * CELL_PX) for side in CELL)
    images, instances = np.full((2, 256, 256, 3), 128, np.uint8), np.zeros((2, 256, 256), np.int32)
    images[0][patch], instances[0][patch] = 255, 1
    with writing(folder / "tiles.h5", TILES, 2, {}, Provenance(data_set=PANNUKE)) as out:
        append_tiles(out, TileBatch(images, instances, instances.astype(np.uint8), ("Colon", "Colon"), ids))
    encoder, features = load_encoder(SETTINGS.encoder, SETTINGS.features, CPU), SETTINGS.features
    tiles = torch.from_numpy(images)
    encoded = [
        encoder(seen(tiles, ids, view, seed=features.colour_seed, sigma=features.colour_sigma))
        for view in views_of(features)
    ]
    sizes = {"views": len(encoded), "blocks": 1, "g": encoder.grid, "dim": encoder.dim}
    origin = Provenance(data_set=PANNUKE, settings=SETTINGS.model_dump(mode="json"))
    with writing(folder / "features.h5", FEATURES, 2, sizes, origin) as out:
        out.append(
            cls=torch.stack([each.cls for each in encoded], dim=1).numpy(),
            tokens=torch.stack([each.tokens for each in encoded], dim=1).numpy(),
        )
    with open_features(folder / "features.h5") as store, open_tiles(folder / "tiles.h5") as tile_store:
        yield Marked(store, tile_store, tiles, ids)


def cell_of(pixels: torch.Tensor) -> tuple[int, ...]:
    """Cell that holds all pixels that are set."""
    (cell,) = {tuple(where) for where in (pixels.nonzero() // CELL_PX).tolist()}
    return cell


@pytest.mark.parametrize("geometry", range(len(GEOMETRIES)), ids=GEOMETRIES)
def test_tokens_image_and_nucleus_are_where_the_view_moves_them(marked: Marked, geometry: int) -> None:
    mark = torch.zeros(16, 16)
    mark[CELL] = 1
    expected = np.unravel_index(int(apply_view(mark, geometry, axes=(0, 1)).argmax()), (16, 16))

    shown = marked.shown(geometry)

    moved = (shown.tokens[0, 0].float() - shown.tokens[1, 0].float()).norm(dim=-1)
    assert np.unravel_index(int(moved.argmax()), (16, 16)) == expected
    assert cell_of(shown.image[0, 0] == 255) == expected
    assert cell_of(shown.instances[0] > 0) == expected
    assert cell_of(shown.classes[0] > 0) == expected


@pytest.mark.parametrize("geometry", range(len(GEOMETRIES)), ids=GEOMETRIES)
def test_targets_of_a_view_are_those_of_the_transformed_nuclei(marked: Marked, geometry: int) -> None:
    identity = torch.from_numpy(marked.tiles.read("instances", np.arange(2)))

    shown = marked.shown(geometry)

    transformed = apply_view(identity, geometry, axes=(1, 2))
    assert torch.equal(shown.instances, transformed)
    assert torch.equal(hv_maps(shown.instances), hv_maps(transformed))


@pytest.mark.parametrize("place", range(10))
def test_the_decoders_image_is_the_one_that_the_encoder_saw(marked: Marked, place: int) -> None:
    view = views_of(SETTINGS.features)[place]

    shown = marked.shown(place)

    expected = seen(marked.images, marked.ids, view, seed=5, sigma=0.1)
    assert torch.equal(shown.image.permute(0, 2, 3, 1), expected)
    assert view.colour == 0 or not torch.equal(expected, marked.images)


def test_each_tile_is_read_in_its_own_view_and_transformed_as_sampled(marked: Marked) -> None:
    sampled = SampledViews(stored=np.array([9, 2]), transforms=np.array([0, 5]))

    (batch,) = sampled_batches(marked.features, marked.tiles, [SampledRows(np.array([1, 0]), sampled)], blocks=(0,))
    shown = on_device(batch, CPU, stored_views(marked.features))

    tokens = torch.from_numpy(marked.features.read("tokens", np.array([1, 0])))[:, :, 0]
    assert torch.equal(shown.tokens[0, 0], tokens[0, 9])
    assert torch.equal(shown.tokens[1, 0], apply_view(tokens[1, 2], 5, axes=(0, 1)))
    image = apply_view(apply_view(marked.images[0], 2, axes=(0, 1)), 5, axes=(0, 1))
    assert torch.equal(shown.image[1].permute(1, 2, 0), image)


def test_changes_of_the_image_come_after_the_view_and_change_nothing_else(marked: Marked) -> None:
    views = {"stored": np.array([3, 3]), "transforms": np.array([0, 0])}
    mixes = np.stack([stain_mix(name, 1, seed=0, sigma=0.2) for name in marked.ids]).astype(np.float32)
    blur_px = np.array([1.0, 0.5], np.float32)
    sampled = SampledRows(np.arange(2), SampledViews(**views, stain_mixes=mixes, blur_px=blur_px))

    (batch,) = sampled_batches(marked.features, marked.tiles, [sampled], blocks=(0,))
    shown, plain = on_device(batch, CPU, stored_views(marked.features)), marked.shown(3)

    expected = blurred(
        mixed(plain.image.permute(0, 2, 3, 1), torch.from_numpy(mixes)), torch.from_numpy(gaussian_kernels(blur_px))
    )
    assert torch.equal(shown.image.permute(0, 2, 3, 1), expected)
    assert not torch.equal(shown.image, plain.image)
    for name in ("tokens", "instances", "classes"):
        assert torch.equal(getattr(shown, name), getattr(plain, name))


def test_true_views_differ_from_rotated_tokens(marked: Marked) -> None:
    tokens = torch.from_numpy(marked.features.read("tokens", np.array([0])))[0, :, 0].float()

    rotated = torch.stack([apply_view(tokens[0], geometry, axes=(0, 1)) for geometry in range(8)])

    differing = (tokens[:8] - rotated).norm(dim=-1).mean(dim=(1, 2))
    assert differing[0] == 0
    assert differing[1:].min() > 0.1


def test_the_views_axis_has_geometries_and_then_colours() -> None:
    features = FeaturesSettings(views=("identity", "rotate180"), colour_views=3)

    assert views_of(features) == (View(0, 0), View(2, 0), View(0, 1), View(2, 2), View(0, 3))
    assert views_of(FeaturesSettings(views=("identity",))) == IDENTITY_ONLY.views
    assert features.n_views == 5


def test_a_store_with_other_views_than_its_settings_name_is_stale(feature_store) -> None:
    with pytest.raises(StaleFileError, match=r"name 10 views .* are of 1 views.\s.*forcerun extract_features"):
        stored_views(feature_store(SETTINGS.model_dump(mode="json")))
    assert stored_views(feature_store({})) == IDENTITY_ONLY
