"""Copies of images are found whatever their orientation and compression; different images never are."""

import csv

import cv2
import numpy as np
import pytest

from cellvit.data.duplicates import copies_between, digests_of
from cellvit.data.simulate.tile import simulate_tile
from cellvit.taxonomy import ORGANS


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Images of blots, as different as tissue is."""
    rng = np.random.default_rng(0)
    noise = [cv2.GaussianBlur(rng.normal(size=(256, 256, 3)), (0, 0), 6) for _ in range(12)]
    return np.stack([np.clip(150 + 900 * one, 0, 255) for one in noise]).astype(np.uint8)


def as_jpeg(image: np.ndarray, quality: int = 80) -> np.ndarray:
    done, encoded = cv2.imencode(".jpg", np.ascontiguousarray(image), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)


def turned(image: np.ndarray, number: int) -> np.ndarray:
    """One of the eight orientations."""
    rotated = np.rot90(image, number % 4)
    return rotated[:, ::-1] if number >= 4 else rotated


def test_identical_images_are_found_with_their_rows(images):
    first, second = digests_of(images[:8]), digests_of(images[[9, 3, 10, 3]])

    found = copies_between(first, second)

    assert [(copy.first, copy.second, copy.identical) for copy in found] == [(3, 1, True), (3, 3, True)]


@pytest.mark.parametrize("orientation", range(8))
def test_turned_and_compressed_copies_are_near_copies(images, orientation):
    copies = [as_jpeg(turned(image, orientation)) for image in images]

    found = copies_between(digests_of(images), digests_of(copies))

    assert [(copy.first, copy.second) for copy in found] == [(row, row) for row in range(len(images))]
    assert not any(copy.identical for copy in found)
    assert all(0.95 <= copy.similarity <= 1.0001 for copy in found)


def test_a_pixel_makes_an_image_a_near_copy_and_no_longer_an_identical_one(images):
    changed = images[0].copy()
    changed[0, 0, 0] ^= 1

    (copy,) = copies_between(digests_of(images[:1]), digests_of([changed]))

    assert not copy.identical
    assert copy.similarity > 0.999


def test_different_images_are_no_copies(images):
    assert copies_between(digests_of(images[:6]), digests_of(images[6:])) == ()


def test_blank_images_are_copies_only_where_they_are_identical():
    rng = np.random.default_rng(0)
    blank = [
        np.full((256, 256, 3), 240, np.uint8) - rng.integers(0, 3, (256, 256, 3), dtype=np.uint8) for _ in range(3)
    ]

    found = copies_between(digests_of(blank[:2]), digests_of(blank[1:]))

    assert [(copy.first, copy.second, copy.identical) for copy in found] == [(1, 0, True)]


def test_images_of_other_sizes_are_compared(images):
    half = [cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA) for image in images]

    assert len(copies_between(digests_of(images), digests_of(half))) == len(images)


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (0, 0)])
def test_no_images_have_no_copies(images, sizes):
    first, second = (digests_of(images[:size]) for size in sizes)

    assert copies_between(first, second) == ()


def test_simulated_folds_have_no_copies():
    rng = np.random.default_rng(0)
    tiles = [np.rint(simulate_tile(organ, rng, empty=row % 5 == 0).image) for row, organ in enumerate(ORGANS)]
    first, second = (digests_of(tile.astype(np.uint8) for tile in tiles[start::2]) for start in (0, 1))

    assert copies_between(first, second) == ()


@pytest.mark.real_tiles
def test_real_tiles_are_no_copies_of_each_other_but_their_turned_copies_are(repository):
    folder = repository.parent / "shared" / "real_tiles"
    with (folder / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    tiles = [cv2.imread(str(next((folder / "images").glob(f"{row['tile_id']}.*")))) for row in rows]
    patients = np.array([row["source"] + row["patient"] for row in rows])
    chosen = np.flatnonzero(np.isin(patients, np.unique(patients)[::2]))
    others = np.setdiff1d(np.arange(len(rows)), chosen)
    first = digests_of([tiles[row] for row in chosen])

    alarms = copies_between(first, digests_of([tiles[row] for row in others]))
    hits = copies_between(first, digests_of([as_jpeg(turned(tiles[row], row % 8)) for row in chosen]))

    assert alarms == ()
    assert [(copy.first, copy.second) for copy in hits] == [(row, row) for row in range(len(chosen))]
