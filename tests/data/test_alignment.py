"""Annotation that does not lie on nuclei is found, and tiles that cannot be judged are not."""

import csv

import cv2
import numpy as np
import pytest

from cellvit.data.alignment import LIMIT, Annotated, alignment_findings, likely_cause, nuclear_contrast

MPP = 0.25
NAN = float("nan")


def tissue(*, n: int = 40, seed: int = 0, contrast: float = 1.0) -> Annotated:
    """A tile of blue nuclei on pink ground, as noisy as tissue is."""
    rng = np.random.default_rng(seed)
    instances = np.zeros((256, 256), np.int32)
    for label, (y, x) in enumerate(rng.integers(12, 244, (n, 2)), start=1):
        cv2.circle(instances, (int(x), int(y)), 7, label, -1)
    nuclear = cv2.GaussianBlur((instances > 0).astype(np.float32), (0, 0), 1)[..., None] * contrast
    colour = (1 - nuclear) * np.array([225, 170, 205]) + nuclear * np.array([100, 70, 150])
    image = np.clip(colour + rng.normal(0, 12 * contrast, (256, 256, 1)), 0, 255).astype(np.uint8)
    return Annotated(image, instances, np.ones((256, 256), bool))


def displaced(tile: Annotated, how: str) -> Annotated:
    moved = {
        "shifted": np.pad(tile.instances, ((0, 0), (20, 0)))[:, :256],
        "mirrored": tile.instances[:, ::-1],
        "transposed": tile.instances.T,
    }
    return tile._replace(instances=np.ascontiguousarray(moved[how]))


def test_annotation_on_nuclei_has_a_high_contrast():
    assert nuclear_contrast(tissue(), mpp=MPP) > 0.9


@pytest.mark.parametrize("how", ["shifted", "mirrored", "transposed"])
def test_displaced_annotation_has_the_contrast_of_chance(how):
    assert 0.4 < nuclear_contrast(displaced(tissue(), how), mpp=MPP) < LIMIT


def test_half_the_resolution_gives_about_the_same_contrast():
    tile = tissue()
    half = Annotated(
        cv2.resize(tile.image, (128, 128), interpolation=cv2.INTER_AREA), *(map_[1::2, 1::2] for map_ in tile[1:])
    )

    assert nuclear_contrast(half, mpp=2 * MPP) == pytest.approx(nuclear_contrast(tile, mpp=MPP), abs=0.05)


@pytest.mark.parametrize(
    "tile",
    [
        pytest.param(tissue(n=3), id="few_nuclei"),
        pytest.param(tissue(n=0), id="no_nuclei"),
        pytest.param(tissue(contrast=0.01), id="pale_stain"),
        pytest.param(tissue()._replace(annotated=np.zeros((256, 256), bool)), id="nothing_annotated"),
    ],
)
def test_tiles_with_few_nuclei_or_a_pale_stain_are_not_judged(tile):
    assert np.isnan(nuclear_contrast(tile, mpp=MPP))


def test_pixels_that_are_not_annotated_do_not_count():
    tile, other = tissue(), tissue(seed=1)
    image, annotated = tile.image.copy(), tile.annotated.copy()
    image[128:], annotated[128:] = other.image[128:], False

    with_rest = nuclear_contrast(Annotated(image, tile.instances, np.ones((256, 256), bool)), mpp=MPP)
    without = nuclear_contrast(Annotated(image, tile.instances, annotated), mpp=MPP)

    assert without > 0.9 > with_rest


@pytest.mark.parametrize(
    ("how", "words"),
    [("shifted", "shifted by about 20 px right"), ("mirrored", "mirrored left to right"), ("transposed", "transposed")],
)
def test_the_likely_displacement_is_named(how, words):
    tiles = [displaced(tissue(seed=seed), how) for seed in range(3)]

    assert words in likely_cause(tiles, mpp=MPP)


def test_masks_of_other_images_have_no_displacement_as_their_cause():
    tiles = [tissue(seed=seed)._replace(instances=tissue(seed=seed + 10).instances) for seed in range(3)]

    assert likely_cause(tiles, mpp=MPP) == ""
    assert likely_cause([], mpp=MPP) == ""


def test_single_failing_tiles_warn_and_the_worst_is_named_first():
    contrasts = {f"{number}.png": 0.9 for number in range(8)} | {"b.png": 0.6, "a.png": 0.5, "empty.png": NAN}

    (finding,) = alignment_findings(contrasts)

    assert (finding.kind, finding.places, finding.stops) == ("misplaced_annotation", ("a.png", "b.png"), False)
    assert "2 of 10 tiles" in finding.message
    assert "0.50 in the worst" in finding.message


def test_many_failing_tiles_stop_and_the_cause_is_told():
    contrasts = {f"{number}.png": 0.5 for number in range(6)} | {"c.png": 0.9}

    (finding,) = alignment_findings(contrasts, cause="The masks seem to be mirrored left to right.")

    assert finding.stops
    assert "The masks seem to be mirrored left to right." in finding.message


def test_too_few_tiles_do_not_stop():
    (finding,) = alignment_findings({"a.png": 0.5, "b.png": 0.5, "c.png": NAN})

    assert not finding.stops


def test_good_tiles_have_no_finding():
    assert alignment_findings({"a.png": 0.9, "b.png": NAN}) == ()
    assert alignment_findings({}) == ()


@pytest.mark.real_tiles
def test_real_tiles_pass_as_they_are_and_displaced_ones_do_not(repository):
    folder = repository.parent / "shared" / "real_tiles"
    with (folder / "manifest.csv").open() as file:
        names = [row["tile_id"] for row in csv.DictReader(file)][::8]
    tiles = []
    for name in names:
        image = cv2.imread(str(next((folder / "images").glob(f"{name}.*"))))
        instances = cv2.imread(str(folder / "instances" / f"{name}.png"), cv2.IMREAD_UNCHANGED).astype(np.int32)
        tiles.append(Annotated(np.ascontiguousarray(image[..., ::-1]), instances, np.ones((256, 256), bool)))

    right = [nuclear_contrast(tile, mpp=MPP) for tile in tiles]
    wrong = [
        nuclear_contrast(displaced(tile, how), mpp=MPP)
        for tile in tiles
        for how in ("shifted", "mirrored", "transposed")
    ]

    assert min(right) >= LIMIT
    assert np.nanmax(wrong) < LIMIT
