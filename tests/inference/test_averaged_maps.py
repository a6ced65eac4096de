"""Maps that are averaged over the stored flips and rotations of a tile."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pytest
import torch

from cellvit.config.views import GEOMETRIES
from cellvit.data.views import apply_view, apply_view_to_vectors
from cellvit.errors import StaleFileError
from cellvit.evaluation.map_sums import map_sums, predicted_sums
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.features import FEATURES, open_features
from cellvit.formats.hdf5 import Store
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import TILES, TileBatch, append_tiles, open_tiles
from cellvit.formats.writing import writing
from cellvit.inference.lanes import shared_out
from cellvit.inference.loading import Loaded
from cellvit.inference.maps import predict_maps
from cellvit.inference.pixel_maps import PixelMaps, mean_of
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.taxonomy import ORGANS

CPU = torch.device("cpu")
DIM: Final = 3
EIGHT = tuple(range(len(GEOMETRIES)))


class Stored(NamedTuple):
    """Stores of tiles, each of them a flip or rotation of the first one."""

    features: Store
    tiles: Store

    def maps(
        self, decoder: Loaded[HoVerNetDecoder], *rows: int, average_views: bool = True, batch: int = 16
    ) -> PixelMaps:
        """Maps of the tiles at these rows."""
        options = {"average_views": average_views, "batch_size": batch}
        found = list(predict_maps(decoder, self.features, self.tiles, np.array(rows), **options))
        columns = zip(*((one.np_prob, one.hv, one.nt_prob) for one in found), strict=True)
        return PixelMaps(*(torch.from_numpy(np.concatenate(column)) for column in columns))


def encoded(image: torch.Tensor) -> torch.Tensor:
    """A token for each cell: its mean colour, times weights of the cell, so that the encoder is not equivariant."""
    cells = image.double().view(16, 16, 16, 16, 3).mean(dim=(1, 3)) / 255
    weights = torch.rand(16, 16, DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (4 * cells * weights).half()


def settings(geometries: tuple[int, ...], colour_views: int) -> dict[str, object]:
    views = [GEOMETRIES[number] for number in geometries]
    features = {"input_px": 224, "views": views, "colour_views": colour_views}
    return {"encoder": {"preset": "tiny-vit", "weights": "random"}, "features": features}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    """All eight transformed tiles with all eight views, and a view in other colours whose tokens are not numbers."""
    with ExitStack() as stack:
        yield write_stores(stack, tmp_path_factory.mktemp("eight"), EIGHT, colour_views=1)


def write_stores(stack: ExitStack, folder: Path, geometries: tuple[int, ...], colour_views: int = 0) -> Stored:
    first = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8))
    images = [apply_view(first, number, axes=(0, 1)) for number in EIGHT]
    tokens = [[encoded(apply_view(image, number, axes=(0, 1))) for number in geometries] for image in images]
    of_views = np.stack([torch.stack(views).numpy() for views in tokens])[:, :, None]
    of_colours = np.full((len(images), colour_views, *of_views.shape[2:]), np.nan, np.float16)
    of_views = np.concatenate([of_views, of_colours], axis=1)
    instances = np.zeros((len(images), 256, 256), np.int32)
    instances[:, 30:60, 90:140] = 1
    pixels, names = torch.stack(images).numpy(), tuple(f"f1-{row:05d}" for row in range(len(images)))
    with writing(folder / "tiles.h5", TILES, len(images), {}, Provenance(data_set=PANNUKE)) as out:
        append_tiles(out, TileBatch(pixels, instances, instances.astype(np.uint8), (ORGANS[0],) * len(images), names))
    sizes = {"views": of_views.shape[1], "blocks": 1, "g": 16, "dim": DIM}
    origin = Provenance(data_set=PANNUKE, settings=settings(geometries, colour_views))
    with writing(folder / "features.h5", FEATURES, len(images), sizes, origin) as out:
        out.append(cls=np.zeros((*of_views.shape[:2], DIM), np.float32), tokens=of_views)
    features = stack.enter_context(open_features(folder / "features.h5"))
    return Stored(features, stack.enter_context(open_tiles(folder / "tiles.h5")))


@pytest.fixture(scope="module")
def decoder(stored: Stored) -> Loaded[HoVerNetDecoder]:
    """Random weights, with HV about as long as that of a trained decoder."""
    torch.manual_seed(0)
    architecture = {"dim": DIM, "widths": [8] * 5, "stem_widths": [4, 4]}
    module = HoVerNetDecoder(**architecture).eval()
    with torch.no_grad():
        module.hv.weight *= 50
    header = CheckpointHeader(
        provenance=Provenance(data_set=PANNUKE),
        kind="hovernet",
        split="1",
        status="trained",
        architecture=architecture,
        encoder=stored.features.provenance.settings | {"blocks": [3]},
        mpp=0.25,
    )
    return Loaded(module, header, CPU)


def transformed(maps: PixelMaps, geometry: int) -> PixelMaps:
    return PixelMaps(
        apply_view(maps.np_prob, geometry, axes=(1, 2)),
        apply_view_to_vectors(maps.hv, geometry),
        apply_view(maps.nt_prob, geometry, axes=(2, 3)),
    )


def largest_difference(maps: PixelMaps, others: PixelMaps) -> float:
    return max(float((one - other).abs().max()) for one, other in zip(maps, others, strict=True))


@pytest.fixture(scope="module")
def averaged(stored, decoder) -> PixelMaps:
    """Averaged maps of the eight tiles."""
    return stored.maps(decoder, *EIGHT)


@pytest.fixture(scope="module")
def single(stored, decoder) -> PixelMaps:
    """Maps of the identity view of the eight tiles: the first tile in each of its views."""
    return stored.maps(decoder, *EIGHT, average_views=False)


def of_tile(maps: PixelMaps, row: int) -> PixelMaps:
    return PixelMaps(*(values[row : row + 1] for values in maps))


@pytest.mark.parametrize("geometry", EIGHT, ids=GEOMETRIES)
def test_averaged_maps_of_a_transformed_tile_are_the_transformed_averaged_maps(averaged, single, geometry) -> None:
    expected, not_averaged = (transformed(of_tile(maps, 0), geometry) for maps in (averaged, single))

    assert largest_difference(of_tile(averaged, geometry), expected) < 1e-5
    assert averaged.hv.abs().max() > 0.1
    if geometry:
        assert largest_difference(of_tile(single, geometry), not_averaged) > 0.01, "one view is not equivariant"


def test_an_average_is_the_mean_of_the_maps_of_each_view_turned_back(averaged, single) -> None:
    inverse = {0: 0, 1: 3, 2: 2, 3: 1, 4: 4, 5: 5, 6: 6, 7: 7}
    of_views = [transformed(of_tile(single, geometry), inverse[geometry]) for geometry in EIGHT]

    expected = PixelMaps(*(torch.stack(maps).mean(dim=0) for maps in zip(*of_views, strict=True)))

    assert largest_difference(of_tile(averaged, 0), expected) < 1e-5
    assert all(values.dtype == torch.float32 for values in averaged)
    torch.testing.assert_close(averaged.nt_prob.sum(dim=1), torch.ones(8, 256, 256))


def test_averages_do_not_depend_on_the_batch_and_repeat_bit_by_bit(stored, decoder) -> None:
    together, again, alone = (stored.maps(decoder, 5, 0, 3, batch=size) for size in (2, 2, 1))

    assert all(torch.equal(one, other) for one, other in zip(together, again, strict=True))
    assert largest_difference(together, alone) < 1e-5


def test_maps_of_one_view_are_the_same_bits_with_and_without_averaging(single) -> None:
    mean = mean_of(iter([single]))

    assert all(torch.equal(one, other) for one, other in zip(mean, single, strict=True))


def test_only_some_flips_and_rotations_are_stored(decoder, tmp_path) -> None:
    with ExitStack() as stack:
        two = write_stores(stack, tmp_path, (0, GEOMETRIES.index("flip")))

        averaged, single = two.maps(decoder, 0), two.maps(decoder, 0, 4, average_views=False)

    flipped_back = single.hv[1].flip(-1) * torch.tensor([-1.0, 1.0]).view(2, 1, 1)
    torch.testing.assert_close(averaged.hv[0], (single.hv[0] + flipped_back) / 2, atol=1e-6, rtol=0)


def test_sums_on_the_device_are_those_of_the_averaged_maps(stored, decoder) -> None:
    rows = np.array([0, 6])
    (batch,) = predict_maps(decoder, stored.features, stored.tiles, rows, average_views=True)

    (found,) = predicted_sums(decoder, stored.features, stored.tiles, rows, average_views=True)

    np.testing.assert_allclose(found, map_sums(batch).rows, rtol=1e-12)


def test_features_of_the_identity_view_alone_are_refused_with_the_fix(decoder, tmp_path) -> None:
    with ExitStack() as stack:
        one = write_stores(stack, tmp_path, (0,), colour_views=2)

        with pytest.raises(StaleFileError, match=r"features.h5: watershed.average_views needs .*\[dihedral8\]"):
            one.maps(decoder, 0)


@pytest.mark.parametrize("average_views", [False, True])
def test_maps_do_not_depend_on_the_number_of_cores(stored, decoder, average_views) -> None:
    before = torch.get_num_threads()

    try:
        one, three = (
            stored.maps(replace(decoder, lanes=shared_out(CPU, threads)), *EIGHT, average_views=average_views, batch=2)
            for threads in (1, 3)
        )
    finally:
        torch.set_num_threads(before)

    assert largest_difference(one, three) == 0
