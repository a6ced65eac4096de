"""What the prediction promises: the nuclei of the evaluation, and the same nuclei wherever tiles and chunks begin."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import shapely
import torch
from predictions import features_of, write_png
from small_bundle import discs

from cellvit.config.encoders import FeaturesSettings
from cellvit.config.prediction import PredictionSettings
from cellvit.formats.bundle import read_bundle
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.features import FEATURES, append_features, open_features
from cellvit.formats.nuclei import NucleiTable
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import TILES, TileBatch, append_tiles, open_tiles
from cellvit.formats.writing import writing
from cellvit.inference.features import Extraction
from cellvit.inference.maps import load_decoder, predict_maps
from cellvit.inference.parallel import Workers
from cellvit.inference.predictions import Segmentation
from cellvit.inference.segment import segment_tile
from cellvit.prediction.chunks import Plan
from cellvit.prediction.merging import Work, merge_chunks, merged_nuclei
from cellvit.prediction.models import Ensemble, TilePredictor, load_ensemble
from cellvit.prediction.opened import opened_image
from cellvit.prediction.outlines import polygons
from cellvit.prediction.request import Request
from cellvit.prediction.shards import write_shard
from cellvit.prediction.stream import Stream

Predict = Callable[..., int]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def ensemble(small_bundle: Path) -> Ensemble:
    return load_ensemble([read_bundle(small_bundle)], CPU)


def test_an_image_of_one_tile_has_the_nuclei_of_the_evaluation(
    tmp_path: Path, ensemble: Ensemble, predict: Predict
) -> None:
    tiles = [discs(256, 256, seed)[0] for seed in range(3)]
    evaluated = list(evaluate(tmp_path, ensemble, np.stack(tiles)))

    for number, tile in enumerate(tiles):
        predict(write_png(tmp_path / f"tile{number}.png", tile), out=tmp_path / "out")

    for number, expected in enumerate(evaluated):
        found = rasterised(features_of(tmp_path / "out" / f"tile{number}"))
        assert expected.instances.max() > 20
        assert np.array_equal(found.instances > 0, expected.instances > 0)
        assert pairs(found.instances, expected.instances) == expected.instances.max()
        assert np.array_equal(found.classes, expected.classes)


def test_moving_the_grid_by_half_a_tile_changes_no_nucleus_inside(tmp_path: Path, ensemble: Ensemble) -> None:
    image = discs(900, 1000, 3)[0]

    whole, moved = (
        predicted(tmp_path / name, pixels, ensemble)
        for name, pixels in (("whole", image), ("moved", np.ascontiguousarray(image[128:, 128:])))
    )

    inner = shapely.box(256, 256, 1000, 900)
    one, other = (
        {shapely.normalize(shape).wkt for shape in shapes if inner.contains(shape.centroid)}
        for shapes in (polygons(whole, scale=1.0), shapely.transform(polygons(moved, scale=1.0), lambda p: p + 128))
    )
    changed = one ^ other
    assert len(one) > 300
    assert len(changed) / 2 / len(one) < 0.005, sorted(changed)


@pytest.mark.parametrize("side", [1, 3])
def test_nuclei_do_not_depend_on_the_chunks(tmp_path: Path, ensemble: Ensemble, side: int) -> None:
    image = discs(700, 600, 4)[0]

    one, several = (predicted(tmp_path / f"{number}", image, ensemble, side=number) for number in (32, side))

    # the arithmetic of a batch can differ in the last bit, which no nucleus shows
    assert shown(one) == shown(several)


def test_tiles_that_are_not_active_change_nothing_in_others(tmp_path: Path, ensemble: Ensemble) -> None:
    image = discs(700, 700, 5)[0]
    active = np.zeros((5, 5), bool)
    active[2, 2] = True

    whole, part = (
        predicted(tmp_path / name, image, ensemble, active=chosen) for name, chosen in (("a", None), ("b", active))
    )

    in_core = (whole.row == 2) & (whole.column == 2) & (np.hypot(whole.x - 350, whole.y - 350) < 40)
    assert in_core.sum() > 3
    assert shown(whole.at(in_core)) <= shown(part)


def evaluate(folder: Path, ensemble: Ensemble, images: np.ndarray) -> Iterator[Segmentation]:
    """Nuclei of tiles as the steps extract_features and evaluate_family find them, from stores."""
    bundle = ensemble.models[0].bundle
    decoder, record = bundle.decoders["all"], bundle.document.encoder
    n, none = len(images), np.zeros((len(images), 256, 256), np.int32)
    batch = TileBatch(
        images, none, none.astype(np.uint8), ("Colon",) * n, tuple(f"f1-{i:05d}" for i in range(n)), (), ()
    )
    origin = Provenance(data_set=PANNUKE, settings=record)
    with writing(folder / "tiles.h5", TILES, n, {}, origin) as writer:
        append_tiles(writer, batch)
    with open_tiles(folder / "tiles.h5") as tiles:
        features = FeaturesSettings.model_validate(record["features"])
        encoder = ensemble.encoder
        sizes = {"views": 1, "blocks": len(encoder.blocks), "g": encoder.grid, "dim": encoder.dim}
        with writing(folder / "features.h5", FEATURES, n, sizes, origin) as writer:
            for extracted in Extraction(encoder, tiles, features).blocks(range(n)):
                append_features(writer, extracted)
        with open_features(folder / "features.h5") as stored:
            (ready,) = ensemble.decoders(["all"], average_views=False)
            for maps in predict_maps(load_decoder(decoder.checkpoint, CPU), stored, tiles, np.arange(n)):
                for parts in zip(maps.np_prob, maps.hv, maps.nt_prob, strict=True):
                    yield segment_tile(*parts, ready.watershed)


def rasterised(features: list[dict]) -> Segmentation:
    """Polygons as label map, by the centres of pixels."""
    names = {name: number for number, name in enumerate(PANNUKE.class_names)}
    y, x = np.mgrid[:256, :256] + 0.5
    instances, classes = np.zeros((256, 256), np.int32), np.zeros((256, 256), np.uint8)
    for label, feature in enumerate(features, start=1):
        inside = shapely.contains_xy(shapely.geometry.shape(feature["geometry"]), x, y)
        instances[inside], classes[inside] = label, names[feature["properties"]["classification"]["name"]]
    return Segmentation(instances, classes)


def test_batches_that_are_predicted_at_the_same_time_change_nothing(tmp_path: Path, ensemble: Ensemble) -> None:
    image, _, _ = discs(700, 600, 3)

    one, several = (predicted(tmp_path, image, ensemble, lanes=lanes) for lanes in (1, 3))

    assert len(one) > 20
    assert np.array_equal(one.outlines.points, several.outlines.points)
    assert np.array_equal(one.probability, several.probability)


def pairs(one: np.ndarray, other: np.ndarray) -> int:
    """Number of different pairs of labels where both are nuclei; that of the nuclei if both maps are equal but for numbers."""
    both = np.stack([one[one > 0], other[one > 0]])
    return np.unique(both, axis=1).shape[1]


def predicted(
    folder: Path,
    image: np.ndarray,
    ensemble: Ensemble,
    *,
    side: int = 32,
    active: np.ndarray | None = None,
    lanes: int = 1,
) -> NucleiTable:
    """Merged nuclei of an image in chunks of `side` windows."""
    with stream_of(folder, image, ensemble, side=side, active=active, lanes=lanes) as stream:
        work = Work(folder, "key")
        for chunk in stream.plan.chunks():
            write_shard(work.shard(chunk), work.key, stream.shard(chunk))
        list(merge_chunks(work, stream.plan.chunks(), stream.pool, area=None, scale=1.0))
        return NucleiTable.concatenated(list(merged_nuclei(work, stream.plan.chunks())))


@contextmanager
def stream_of(
    folder: Path, image: np.ndarray, ensemble: Ensemble, *, side: int, active: np.ndarray | None, lanes: int
) -> Iterator[Stream]:
    path = write_png(folder / "image.png", image)
    request = Request(path=path, name="image", settings=PredictionSettings(mpp=0.25, area="whole"))
    predictor = TilePredictor(ensemble, ensemble.decoders(["all"], average_views=False))
    with opened_image(request, PANNUKE, key="") as opened:
        plan = Plan(opened.plan.grid, opened.plan.active if active is None else active, side)
        yield Stream(opened.pixels, plan, predictor, Workers(None, 1), batch_size=4, lanes=lanes)


def shown(nuclei: NucleiTable) -> set[tuple[str, int]]:
    """Outline and class of each nucleus."""
    shapes = polygons(nuclei, scale=1.0)
    return {
        (shapely.normalize(shape).wkt, int(number)) for shape, number in zip(shapes, nuclei.nucleus_class, strict=True)
    }
