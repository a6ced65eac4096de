"""A slide at the resolution of a model: exact where nothing is resampled, and independent of the rectangle that is read."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from slides import write_pyramid, write_sparse_slide

from cellvit.data.slides.model_pixels import ModelPixels
from cellvit.data.slides.opening import open_slide
from cellvit.data.slides.resampling import best_level, reduced
from cellvit.data.slides.tile_cache import CACHE_BYTES, TileCache

MANY = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("kind", ["tiff", "ome", "aperio"])
@pytest.mark.parametrize("mpp", [0.25, 0.2475, 0.2525])
def test_pixels_are_exact_within_one_percent_of_the_resolution(tmp_path, opened, picture, kind, mpp):
    pixels = ModelPixels(opened(write_pyramid(tmp_path / "a.tif", picture, mpp, kind=kind)), 0.25)

    assert (pixels.width, pixels.height, pixels.scale) == (900, 700, 1.0)
    np.testing.assert_array_equal(pixels.read(128, 256, 256, 256), picture[256:512, 128:384])


def test_beyond_the_border_the_slide_is_reflected_as_small_own_images_are(tmp_path, opened, picture):
    small = picture[:100, :60]
    pixels = ModelPixels(opened(write_pyramid(tmp_path / "a.tif", small, 0.25, n_levels=1)), 0.25)

    read = pixels.read(0, 0, 256, 256)

    np.testing.assert_array_equal(read, np.pad(small, ((0, 156), (0, 196), (0, 0)), mode="reflect"))
    np.testing.assert_array_equal(
        pixels.read(-3, -2, 10, 9), np.pad(small, ((2, 0), (3, 0), (0, 0)), mode="reflect")[:9, :10]
    )


@pytest.mark.parametrize("mpp", [0.25, 0.1, 0.7])
@pytest.mark.parametrize("size", [(1, 700), (700, 1), (1, 1)])
def test_images_of_one_px_are_repeated(tmp_path, opened, picture, mpp, size):
    height, width = size
    slide = opened(write_pyramid(tmp_path / "a.tif", picture[:height, :width], mpp, n_levels=1))

    pixels = ModelPixels(slide, 0.25)
    read = pixels.read(0, 0, 256, 256)

    assert read.shape == (256, 256, 3)
    assert (read == read[:, :1]).all() or width > 1
    assert (read == read[:1]).all() or height > 1


@pytest.mark.parametrize(("mpp", "level"), [(0.11, 1), (0.0625, 2), (0.17, 0), (0.5, 0), (0.1, 1), (0.05, 2)])
@pytest.mark.parametrize("kind", ["tiff", "aperio"])
def test_resampled_pixels_are_those_of_the_best_level(tmp_path, opened, picture, kind, mpp, level):
    smooth = np.asarray(Image.fromarray(picture).resize((90, 70)).resize((900, 700)))
    slide = opened(write_pyramid(tmp_path / "a.tif", smooth, mpp, kind=kind))

    pixels = ModelPixels(slide, 0.25)
    read = pixels.read(0, 0, pixels.width, pixels.height)

    assert pixels.scale == pytest.approx(0.25 / mpp)
    assert best_level(slide, pixels.scale) == level
    assert (pixels.width, pixels.height) == (round(900 / pixels.scale), round(700 / pixels.scale))
    inside = (0, 0, min(900, pixels.width * pixels.scale), min(700, pixels.height * pixels.scale))
    expected = Image.fromarray(smooth).resize((pixels.width, pixels.height), Image.Resampling.BILINEAR, box=inside)
    difference = np.abs(read.astype(int) - np.asarray(expected))[2:-2, 2:-2]
    assert difference.mean() < 1.5
    assert difference.max() <= 16


def test_a_level_of_the_models_resolution_is_copied(tmp_path, opened, picture):
    slide = opened(write_pyramid(tmp_path / "a.tif", picture, 0.125))

    read = ModelPixels(slide, 0.25).read(0, 0, 450, 350)

    np.testing.assert_array_equal(read, slide.read(0, 0, 450, 350, level=1))


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """The same picture in three kinds of file."""
    picture = np.random.default_rng(1).integers(0, 256, (1300, 1500, 3), dtype=np.uint8)
    folder = tmp_path_factory.mktemp("slides")
    opened = [
        open_slide(write_pyramid(folder / f"{kind}.tif", picture, 0.2, kind=kind)) for kind in ("tiff", "ome", "aperio")
    ]
    yield opened
    for slide in opened:
        slide.close()


@pytest.mark.parametrize("model_mpp", [0.25, 0.2, 0.13, 0.53])
@MANY
@given(st.data())
def test_pixels_do_not_depend_on_the_rectangle_that_is_read(slides, model_mpp, data):
    slide = data.draw(st.sampled_from(slides))
    one, other = ModelPixels(slide, model_mpp), ModelPixels(slide, model_mpp)
    x, y = (data.draw(st.integers(-80, side + 20)) for side in (one.width, one.height))
    width, height = data.draw(st.integers(1, 300)), data.draw(st.integers(1, 300))
    left, top = data.draw(st.integers(0, 200)), data.draw(st.integers(0, 200))

    part = one.read(x, y, width, height)
    around = other.read(x - left, y - top, width + left + 7, height + top + 5)

    np.testing.assert_array_equal(part, around[top : top + height, left : left + width])


def test_the_same_picture_gives_the_same_pixels_in_every_kind_of_file(slides):
    reads = [ModelPixels(slide, 0.25).read(100, 200, 700, 600) for slide in slides]

    np.testing.assert_array_equal(reads[0], reads[1])
    np.testing.assert_array_equal(reads[0], reads[2])


def test_thumbnails_show_the_whole_slide(tmp_path, opened, picture):
    smooth = np.asarray(Image.fromarray(picture).resize((9, 7)).resize((900, 700)))
    pixels = ModelPixels(opened(write_pyramid(tmp_path / "a.tif", smooth, 0.25)), 0.25)

    thumbnail = pixels.thumbnail(225)

    assert thumbnail.shape == (175, 225, 3)
    expected = smooth.reshape(175, 4, 225, 4, 3).mean(axis=(1, 3))
    assert np.abs(thumbnail - expected).max() < 6
    np.testing.assert_array_equal(pixels.thumbnail(5000), smooth)


def test_reduced_copies_do_not_depend_on_the_parts_in_which_they_are_made(tmp_path, opened, picture, monkeypatch):
    slide = opened(write_pyramid(tmp_path / "a.tif", picture, 0.25, n_levels=1))
    at_once = reduced(slide, 3.7)

    monkeypatch.setattr("cellvit.data.slides.resampling.SOURCE_PX", 190)
    in_parts = reduced(slide, 3.7)

    assert np.abs(at_once.astype(int) - in_parts).max() <= 1


def test_caches_keep_within_their_limit():
    cache, made = TileCache(limit_bytes=3000), []

    def tile(number):
        made.append(number)
        return np.zeros((10, 30, 3), np.uint8)

    for number in (0, 1, 2, 0, 3, 0, 1):
        cache.get(number, lambda number=number: tile(number))

    assert made == [0, 1, 2, 3, 1]
    assert cache.n_bytes <= 3000


def test_reading_a_huge_slide_needs_little_memory(tmp_path, opened, picture):
    slide = opened(write_sparse_slide(tmp_path / "a.tif", 100_000, [(60_000, 30_000, picture)]))
    pixels = ModelPixels(slide, 0.25)
    noise = np.random.default_rng(0).integers(0, 256, (3000, 12_000, 3), dtype=np.uint8)
    detailed = ModelPixels(opened(write_pyramid(tmp_path / "b.tif", noise, 0.1, compression=None)), 0.25)

    np.testing.assert_array_equal(pixels.read(60_000, 30_000, 900, 700), picture)
    tracemalloc.start()
    for x in range(0, 100_000, 10_000):
        assert (pixels.read(x, 99_000, 1_000, 1_000) == 245).all()
    for x in range(0, detailed.width, 300):
        detailed.read(x, 0, 300, detailed.height)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 2 * CACHE_BYTES + 20_000_000
