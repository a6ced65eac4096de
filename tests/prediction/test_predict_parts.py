"""Parts of the prediction: bundles that belong together, shards, chunks, the organ."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_bundle import discs

from cellvit.errors import IntegrityError, StaleFileError
from cellvit.formats.bundle import Bundle, read_bundle
from cellvit.formats.novelty import Novelty, NoveltyHeader
from cellvit.formats.nuclei import NucleiTable
from cellvit.formats.provenance import Provenance
from cellvit.inference.pixel_maps import PixelMaps
from cellvit.prediction.blending import Blender
from cellvit.prediction.chunks import Plan
from cellvit.prediction.grid import tile_grid
from cellvit.prediction.models import Ensemble, TilePredictor, check_together, load_ensemble
from cellvit.prediction.shards import Shard, read_shard, write_shard

CPU = torch.device("cpu")


def test_bundles_of_another_resolution_are_refused_by_name(small_bundle: Path) -> None:
    bundle = read_bundle(small_bundle)
    data_set = bundle.document.dataset.model_copy(update={"mpp": 0.5})
    other = changed(bundle, provenance=bundle.document.provenance.model_copy(update={"data_set": data_set}))

    with pytest.raises(StaleFileError, match=r"(?s)discs and .*mpp: 0.25 and 0.5.*Fix: predict with each"):
        check_together([bundle, other])


def test_other_weights_of_the_encoder_are_refused(small_bundle: Path) -> None:
    bundle = changed(read_bundle(small_bundle), encoder_sha256="ab" * 32)

    with pytest.raises(IntegrityError, match=r"(?s)other weights of the encoder.*Fix: --encoder-weights"):
        load_ensemble([bundle], CPU)


def test_averaged_views_are_turned_back(small_bundle: Path) -> None:
    ensemble = load_ensemble([read_bundle(small_bundle)], CPU)
    one, eight = (
        TilePredictor(ensemble, ensemble.decoders(["all"], average_views=average)) for average in (False, True)
    )
    image = torch.from_numpy(discs(256, 256, 1)[0])[None]

    alone, averaged = one.predicted(image).maps, eight.predicted(image).maps

    agreement = ((alone.np_prob > 0.5) == (averaged.np_prob > 0.5)).float().mean()
    correlation = np.corrcoef(alone.hv.flatten(), averaged.hv.flatten())[0, 1]
    assert agreement > 0.99
    assert correlation > 0.9


def test_a_shard_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    shard = Shard(NucleiTable.none(5), np.array([[0, 1]], np.int32), np.array([True]), 7)

    write_shard(tmp_path / "a.npz", "key", shard)
    found = read_shard(tmp_path / "a.npz", "key")

    assert found is not None
    assert (len(found.candidates), found.tiles.tolist(), found.unlike.tolist(), found.n_encoded) == (
        0,
        [[0, 1]],
        [True],
        7,
    )


def test_a_shard_of_another_prediction_is_not_read(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.npz", "one", Shard(NucleiTable.none(5), np.empty((0, 2), np.int32), np.empty(0, bool), 0))

    assert read_shard(tmp_path / "a.npz", "another") is None


@pytest.mark.parametrize("keep", [0, 10, 300])
def test_a_damaged_shard_is_not_read(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.npz"
    write_shard(path, "key", Shard(NucleiTable.none(5), np.empty((0, 2), np.int32), np.empty(0, bool), 0))
    path.write_bytes(path.read_bytes()[:keep])

    assert read_shard(path, "key") is None


def test_a_blended_window_of_constant_maps_is_constant() -> None:
    grid = tile_grid(700, 600, overlap_px=100)
    blender = Blender(grid, (0, len(grid.columns.starts) - 1), CPU)
    for row in range(grid.shape[0]):
        tiles = [(row, column) for column in range(grid.shape[1])]
        maps = PixelMaps(*(torch.ones(shape) for shape in sizes(len(tiles))))
        blender.add(tiles, maps)

    windows = [blender.window(row, column) for row in range(grid.shape[0]) for column in range(grid.shape[1])]

    assert all(torch.allclose(window, torch.ones(())) for window in windows)


def test_a_large_sparse_slide_is_planned_with_few_tiles() -> None:
    grid = tile_grid(100_000, 100_000)
    active = np.zeros(grid.shape, bool)
    active[[10, 700], [20, 500]] = True

    plan = Plan(grid, active)

    assert grid.shape == (781, 781)
    assert [len(plan.windows(chunk)) for chunk in plan.chunks()] == [1, 1]
    assert plan.n_tiles() == 18


def test_tiles_that_are_unlike_the_training_data_are_decoded_by_the_other_decoder(small_bundle: Path) -> None:
    ensemble = with_novelty(load_ensemble([read_bundle(small_bundle)], CPU), 1.0)
    (usual,) = ensemble.decoders(["all"], average_views=False)
    (other,) = ensemble.decoders(["all"], average_views=True)
    images = torch.from_numpy(np.stack([discs(256, 256, 1)[0], np.full((256, 256, 3), 245, np.uint8)]))
    apart = ensemble.unlike(TilePredictor(ensemble, (usual,)).predicted(images).cls.numpy()).tolist()

    found = TilePredictor(ensemble, (usual,), fallback=(other,)).predicted(images).maps.np_prob

    like, unlike = (TilePredictor(ensemble, (one,)).predicted(images).maps.np_prob for one in (usual, other))
    assert apart == [True, False]
    assert torch.equal(found[1], like[1])
    assert torch.allclose(found[0], unlike[0], atol=1e-5)
    assert not torch.allclose(found[0], like[0], atol=1e-5)


def test_most_bundles_decide_that_a_tile_is_unlike(small_bundle: Path) -> None:
    one = load_ensemble([read_bundle(small_bundle)], CPU)
    strict, mild = (with_novelty(one, length).models[0] for length in (9.0, 0.0))
    cls = np.ones((1, one.encoder.dim), np.float32)

    found = [Ensemble(one.encoder, models, "").unlike(cls)[0] for models in ((strict, mild), (strict, mild, strict))]

    assert found == [False, True]


def with_novelty(ensemble: Ensemble, scale: float) -> Ensemble:
    """The ensemble with a novelty model: the distance of a token from that of a blank tile, times a factor."""
    blank = ensemble.encoder(torch.full((1, 256, 256, 3), 245, dtype=torch.uint8)).cls[0].numpy()
    header = NoveltyHeader(provenance=Provenance(), split="1", status="fitted", threshold=1e-3)
    whitening = np.eye(len(blank), dtype=np.float32) * np.float32(scale)
    (model,) = ensemble.models
    return Ensemble(ensemble.encoder, (replace(model, novelty=Novelty(header, blank, whitening)),), "")


def changed(bundle: Bundle, **changes: object) -> Bundle:
    """The bundle with another document."""
    document = bundle.document.model_copy(update=changes)
    return Bundle(bundle.folder, document, bundle.digest, bundle.decoders, bundle.organ_head, bundle.novelty)


def sizes(n: int) -> tuple[tuple[int, ...], ...]:
    return (n, 256, 256), (n, 2, 256, 256), (n, 6, 256, 256)
