"""Images cut into tiles: every pixel and every nucleus counts once, nothing is mixed, and what is left out is counted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellvit.data.cutting import NARROWEST_PX, cut_image, starts
from cellvit.data.resampling import resampled_image
from cellvit.errors import ContractError
from cellvit.formats.dataset import NOT_ANNOTATED

MPP = 0.25


def image_of(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def labelled(height: int, width: int, *boxes: tuple[int, int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Square nuclei 1..n: first row, first column, height, width, class."""
    instances, classes = np.zeros((height, width), np.int32), np.zeros((height, width), np.uint8)
    for label, (y, x, h, w, of_class) in enumerate(boxes, start=1):
        instances[y : y + h, x : x + w], classes[y : y + h, x : x + w] = label, of_class
    return instances, classes


@pytest.fixture
def cut():
    """Cut an image at the model's resolution."""

    def cutting(pixels, instances, classes, *, mpp=MPP, model_mpp=MPP):
        return cut_image(pixels, instances, classes, mpp=mpp, model_mpp=model_mpp)

    return cutting


def test_an_image_of_a_tile_comes_out_bit_identical(cut):
    image = image_of(256, 256)
    instances, classes = labelled(256, 256, (10, 10, 20, 20, 1), (100, 100, 30, 10, 2))

    found = cut(image, instances, classes)

    (tile,) = found.tiles
    assert np.array_equal(tile.image, image)
    assert np.array_equal(tile.instances, instances)
    assert np.array_equal(tile.classes, classes)
    assert (tile.x, tile.y, found.scale, found.counts) == (0, 0, 1.0, {})


def test_nuclei_are_numbered_by_class_and_then_by_label(cut):
    instances, classes = labelled(256, 256, (10, 10, 5, 5, 2), (30, 10, 5, 5, 1), (50, 10, 5, 5, 2))
    instances *= 7

    (tile,) = cut(image_of(256, 256), instances, classes).tiles

    assert [int(tile.instances[row, 10]) for row in (10, 30, 50)] == [2, 1, 3]


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        pytest.param(256, (0,), id="one_tile"),
        pytest.param(256 + NARROWEST_PX - 1, (0,), id="too_narrow"),
        pytest.param(256 + NARROWEST_PX, (0, NARROWEST_PX), id="narrowest"),
        pytest.param(512, (0, 256), id="two_tiles"),
        pytest.param(1000, (0, 256, 512, 744), id="last_is_shifted_back"),
    ],
)
def test_tiles_start_at_multiples_and_the_last_one_ends_at_the_border(side, expected):
    assert starts(side) == expected


def test_the_overlap_counts_in_the_first_tile_alone(cut):
    instances, classes = labelled(256, 400)

    first, second = cut(image_of(256, 400), instances, classes).tiles

    assert (second.x, second.y) == (400 - 256, 0)
    assert not (first.classes == NOT_ANNOTATED).any()
    assert (second.classes[:, :112] == NOT_ANNOTATED).all()
    assert not second.classes[:, 112:].any()


def test_a_nucleus_on_the_line_belongs_to_the_tile_that_holds_most_of_it(cut):
    instances, classes = labelled(256, 512, (10, 250, 8, 10, 1), (50, 252, 8, 10, 1))

    found = cut(image_of(256, 512), instances, classes)

    left, right = found.tiles
    assert (int(left.instances.max()), int(right.instances.max())) == (1, 1)
    assert (left.classes[10:18, 250:] == 1).all()
    assert (right.classes[10:18, :4] == NOT_ANNOTATED).all()
    assert (left.classes[50:58, 252:] == NOT_ANNOTATED).all()
    assert (right.classes[50:58, :6] == 1).all()
    assert found.counts == {"nuclei_cut": 2}


def test_a_tie_goes_to_the_first_tile(cut):
    instances, classes = labelled(256, 512, (10, 251, 8, 10, 1))

    left, right = cut(image_of(256, 512), instances, classes).tiles

    assert (int(left.instances.max()), int(right.instances.max())) == (1, 0)


def test_a_nucleus_that_a_shifted_tile_holds_whole_belongs_to_it(cut):
    instances, classes = labelled(256, 400, (10, 240, 20, 40, 3))

    found = cut(image_of(256, 400), instances, classes)

    left, right = found.tiles
    assert np.count_nonzero(right.instances) == 20 * 40
    assert (left.classes[10:30, 240:] == NOT_ANNOTATED).all()
    assert "nuclei_cut" not in found.counts


def test_a_small_image_is_reflected_and_the_rest_is_not_annotated(cut):
    image = image_of(64, 100)
    instances, classes = labelled(64, 100, (5, 5, 10, 10, 1))

    found = cut(image, instances, classes)

    (tile,) = found.tiles
    assert np.array_equal(tile.image[:64, :100], image)
    assert np.array_equal(tile.image[64:127, :100], image[62::-1])
    assert (tile.classes[64:] == NOT_ANNOTATED).all()
    assert (tile.classes[:, 100:] == NOT_ANNOTATED).all()
    assert np.array_equal(tile.classes[:64, :100], classes)
    assert found.counts == {"px_padded": 256 * 256 - 64 * 100}


def test_what_a_narrow_remainder_holds_is_left_out_and_counted(cut):
    instances, classes = labelled(260, 256, (257, 10, 3, 10, 1), (250, 50, 9, 10, 1))

    found = cut(image_of(260, 256), instances, classes)

    assert len(found.tiles) == 1
    assert found.counts == {"px_in_remainder": 4 * 256, "nuclei_in_remainder": 1, "nuclei_cut": 1}


def test_tiles_without_annotation_are_left_out_and_counted(cut):
    instances, classes = labelled(256, 512, (10, 10, 10, 10, 1))
    classes[:, 256:] = NOT_ANNOTATED

    found = cut(image_of(256, 512), instances, classes)

    assert [tile.x for tile in found.tiles] == [0]
    assert found.counts == {"tiles_without_annotation": 1}


def test_shrinking_resamples_the_image_and_does_not_mix_ids(cut):
    image = image_of(512, 512)
    instances, classes = labelled(512, 512, (100, 100, 40, 40, 4), (100, 140, 40, 40, 9))

    found = cut(image, instances, classes, mpp=0.25, model_mpp=0.5)

    (tile,) = found.tiles
    assert np.array_equal(tile.image, resampled_image(image, 2.0))
    expected = labelled(256, 256, (50, 50, 20, 20, 4), (50, 70, 20, 20, 9))
    assert np.array_equal(tile.instances, expected[0])
    assert np.array_equal(tile.classes, expected[1])
    assert found.scale == 2.0


def test_enlarging_keeps_labels_on_the_pixels_of_the_image(cut):
    instances, classes = labelled(128, 128, (30, 40, 20, 20, 1))
    image = np.where(instances[..., None] > 0, 40, 220).astype(np.uint8).repeat(3, axis=2)

    found = cut(image, instances, classes, mpp=0.5, model_mpp=0.25)

    (tile,) = found.tiles
    assert np.array_equal(tile.instances > 0, tile.image[..., 0] < 130)
    assert np.count_nonzero(tile.instances) == 40 * 40


def test_a_shift_of_labels_against_a_shrunken_image_is_below_half_a_pixel(cut):
    instances, classes = labelled(
        900, 900, *((y, x, 31, 31, 1) for y in range(20, 860, 60) for x in range(20, 860, 60))
    )
    image = np.where(instances[..., None] > 0, 0, 255).astype(np.uint8).repeat(3, axis=2)

    found = cut(image, instances, classes, mpp=0.25, model_mpp=0.37)

    wrong = [np.mean((tile.instances > 0) != (tile.image[..., 0] < 128)) for tile in found.tiles]
    dark = [np.mean(tile.image[..., 0] < 128) for tile in found.tiles]
    counted = [np.mean(tile.classes != NOT_ANNOTATED) for tile in found.tiles]
    assert counted[0] > 0.9
    assert wrong[0] < 0.1 * dark[0]


def test_nuclei_that_vanish_when_the_image_shrinks_are_counted(cut):
    instances, classes = labelled(512, 512, (100, 100, 1, 1, 1), (200, 200, 20, 20, 1))

    found = cut(image_of(512, 512), instances, classes, mpp=0.25, model_mpp=0.5)

    assert found.counts["nuclei_vanished"] == 1
    assert int(found.tiles[0].instances.max()) == 1


@pytest.mark.parametrize(("mpp", "side"), [(0.2475, 256), (0.2525, 256), (0.247, 253), (0.253, 259)])
def test_one_percent_is_not_resampled(cut, mpp, side):
    image = image_of(256, 256)

    found = cut(image, *labelled(256, 256), mpp=mpp)

    assert np.array_equal(found.tiles[0].image, image) == (side == 256)
    assert (found.scale == 1.0) == (side == 256)


def test_positions_are_pixels_of_the_users_own_image(cut):
    found = cut(image_of(500, 500), *labelled(500, 500), mpp=0.5, model_mpp=0.25)

    assert [(tile.x, tile.y) for tile in found.tiles[:5]] == [(0, 0), (128, 0), (256, 0), (372, 0), (0, 128)]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(lambda a: (a[0][:63], a[1][:63], a[2][:63], 0.25), "at least 64 px", id="too_small"),
        pytest.param(lambda a: (a[0], a[1][:, :-1], a[2], 0.25), "same height and width", id="other_size"),
        pytest.param(lambda a: (a[0], a[1], a[2] * 0, 0.25), "contradict", id="nucleus_without_class"),
        pytest.param(lambda a: (*a, 0.0), "must be positive", id="no_mpp"),
        pytest.param(lambda a: (*a, float("nan")), "must be positive", id="nan_mpp"),
    ],
)
def test_what_does_not_fit_is_refused(cut, edit, message):
    *arrays, mpp = edit((image_of(256, 256), *labelled(256, 256, (10, 10, 20, 20, 1))))

    with pytest.raises(ContractError, match=message):
        cut(*arrays, mpp=mpp)


@st.composite
def annotated_images(draw):
    """An image of any size with nuclei of several classes and a region that is not annotated."""
    height, width = draw(st.integers(64, 620)), draw(st.integers(64, 620))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    boxes = [
        (
            rng.integers(0, height - 4),
            rng.integers(0, width - 4),
            rng.integers(1, 40),
            rng.integers(1, 40),
            rng.integers(1, 4),
        )
        for _ in range(draw(st.integers(0, 60)))
    ]
    instances, classes = labelled(height, width, *boxes)
    if draw(st.booleans()):
        region = slice(height // 3, height // 2), slice(width // 4, width)
        instances[region], classes[region] = 0, NOT_ANNOTATED
    return image_of(height, width, seed=int(rng.integers(1000))), instances, classes


@settings(max_examples=60)
@given(annotated_images())
def test_every_pixel_and_every_nucleus_counts_exactly_once(given_image):
    image, instances, classes = given_image

    found = cut_image(image, instances, classes, mpp=MPP, model_mpp=MPP)

    times, background_px = np.zeros(classes.shape, int), 0
    n_nuclei = 0
    for tile in found.tiles:
        height, width = (min(256, side - at) for side, at in zip(classes.shape, (tile.y, tile.x), strict=True))
        here = slice(tile.y, tile.y + height), slice(tile.x, tile.x + width)
        counted = tile.classes[:height, :width] != NOT_ANNOTATED
        times[here] += counted
        background_px += np.count_nonzero(tile.classes == 0)
        n_nuclei += int(tile.instances.max())
        assert np.array_equal(tile.image[:height, :width], image[here])
        assert np.array_equal(tile.classes[:height, :width][counted], classes[here][counted])
        assert (tile.classes[height:] == NOT_ANNOTATED).all()
        assert np.array_equal(tile.instances > 0, (tile.classes > 0) & (tile.classes < NOT_ANNOTATED))
    whole_nuclei = len(np.unique(instances[instances > 0]))
    assert times.max(initial=0) <= 1
    assert n_nuclei == whole_nuclei - found.counts.get("nuclei_in_remainder", 0)
    covered = tuple(slice(0, starts(max(256, side))[-1] + 256) for side in classes.shape)
    assert background_px == np.count_nonzero(classes[covered] == 0)
    assert not times[classes == NOT_ANNOTATED].any()
    missed = (times[covered] == 0) & (classes[covered] != NOT_ANNOTATED)
    assert missed.any() <= ("nuclei_cut" in found.counts)
    assert (instances[covered][missed] > 0).all()  # only parts of nuclei that belong to another tile
