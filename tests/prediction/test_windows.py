import subprocess
import sys

import numpy as np
import pytest
from nuclei_fields import all_candidates, disks, maps_of, merged, random_field
from skimage.measure import regionprops

from cellvit.data.annotations.pixels import pixels_inside
from cellvit.formats.nuclei import NucleiTable
from cellvit.hover.classes import classify
from cellvit.hover.decode import HoverNetWatershed, HvFlow, Watershed
from cellvit.inference.segment import segment_tile
from cellvit.prediction.grid import tile_grid
from cellvit.prediction.measurements import contours, moments, pixels_of, stains
from cellvit.prediction.outlines import polygons, traced
from cellvit.prediction.windows import candidates_of, window_of

methods = pytest.mark.parametrize("watershed", [HvFlow(), HoverNetWatershed()], ids=["hv_flow", "hovernet"])


def label_map(nuclei: NucleiTable, shape: tuple[int, int]) -> np.ndarray:
    labels = np.zeros(shape, np.int32)
    for label, geometry in enumerate(polygons(nuclei, scale=1.0), start=1):
        pixels_inside(geometry, shape).paint(labels, label)
    return labels


@methods
def test_image_of_one_tile_has_exactly_the_nuclei_of_the_evaluation(watershed: Watershed) -> None:
    rng = np.random.default_rng(0)
    np_prob, hv, _ = maps_of(random_field(256, 256, seed=3, spacing=18))
    hv += rng.normal(0, 0.1, hv.shape).astype(np.float32)
    nt_prob = rng.dirichlet(np.ones(4), (256, 256)).transpose(2, 0, 1).astype(np.float32)

    nuclei = all_candidates(np_prob, hv, nt_prob, watershed=watershed)

    expected = segment_tile(np_prob, hv, nt_prob, watershed)
    typed = classify(expected.instances, nt_prob)
    assert nuclei.owned.all()
    assert not nuclei.cut.any()
    assert np.array_equal(label_map(nuclei, (256, 256)), expected.instances)
    assert np.array_equal(nuclei.nucleus_class, typed.classes)
    assert len(merged(nuclei)) == len(nuclei)


def test_candidates_lie_in_the_core_or_a_little_outside_and_know_where_they_are_cut() -> None:
    labels = disks(512, 512, [(250, 318, 6), (250, 330, 6), (250, 350, 6), (230, 195, 75)])
    grid = tile_grid(512, 512)
    window = window_of(grid, 1, 1)
    box = np.s_[128:384, 128:384]
    np_prob, hv, nt_prob = maps_of(labels)

    found = candidates_of(
        window,
        np.zeros((256, 256, 3), np.uint8),
        np_prob[box],
        hv[:, *box],
        nt_prob[:, *box],
        watershed=HvFlow(),
        temperature=1,
        unlike=True,
    )

    order = np.argsort(found.x)
    assert window.core == (192, 192, 320, 320)
    assert found.x[order][1:].tolist() == pytest.approx([318.5, 330.5], abs=0.2)
    assert found.owned[order].tolist() == [True, True, False]
    assert found.cut[order].tolist() == [True, False, False]
    assert found.unlike.all()
    assert found.row.tolist() == found.column.tolist() == [1] * 3


def test_temperature_changes_probabilities_and_never_classes() -> None:
    np_prob, hv, nt_prob = maps_of(disks(256, 256, [(100, 100, 10), (150, 150, 10)]))
    nt_prob = nt_prob * 0.6 + 0.4 / 3
    window = window_of(tile_grid(256, 256), 0, 0)
    image = np.zeros((256, 256, 3), np.uint8)

    sharp, soft = (
        candidates_of(window, image, np_prob, hv, nt_prob, watershed=HvFlow(), temperature=value, unlike=False)
        for value in (1.0, 3.0)
    )

    assert np.array_equal(sharp.nucleus_class, soft.nucleus_class)
    assert (soft.probability.max(axis=1) < sharp.probability.max(axis=1)).all()


@pytest.mark.parametrize("shape", [(200, 100), (1, 300), (300, 1), (17, 256), (256, 257)])
def test_no_nucleus_leaves_a_small_image(shape: tuple[int, int]) -> None:
    labels = disks(*shape, [(5, 5, 8), (shape[0] - 1, shape[1] - 1, 8), (shape[0] / 2, shape[1] / 2, 9)])

    nuclei = merged(all_candidates(*maps_of(labels)))

    found = label_map(nuclei, (shape[0] + 5, shape[1] + 5))
    assert not found[shape[0] :].any()
    assert not found[:, shape[1] :].any()
    assert ((nuclei.x >= 0) & (nuclei.x <= shape[1]) & (nuclei.y >= 0) & (nuclei.y <= shape[0])).all()


def test_window_without_nuclei_has_no_candidates() -> None:
    found = all_candidates(*maps_of(np.zeros((256, 256), np.int32)))

    assert len(found) == 0
    assert found.probability.shape == (0, 2)


def test_measurements_of_shape_are_those_of_skimage() -> None:
    labels = random_field(300, 300, seed=4, large=True)
    n = int(labels.max())

    found, contour = moments(pixels_of(labels), n), contours(traced(labels, n), n)

    regions = regionprops(labels)
    y, x = np.array([region.centroid for region in regions]).T
    assert found.area_px.tolist() == [region.area for region in regions]
    assert found.x == pytest.approx(x + 0.5)
    assert found.y == pytest.approx(y + 0.5)
    assert found.eccentricity == pytest.approx([region.eccentricity for region in regions], abs=1e-3)
    # skimage measures from the row axis, counter-clockwise; two directions of an axis are the same.
    turned = np.degrees([region.orientation for region in regions]) + 90 - found.orientation
    assert np.abs((turned + 90) % 180 - 90).max() < 0.1
    assert contour.solidity == pytest.approx([region.solidity for region in regions], abs=0.12)
    assert contour.perimeter_px == pytest.approx([region.perimeter_crofton for region in regions], rel=0.2)


@pytest.mark.parametrize(
    ("mask", "degrees"),
    [(np.eye(9), -45), (np.eye(9)[::-1], 45), (np.ones((3, 9)), 0), (np.ones((9, 3)), -90)],
    ids=["down_to_the_right", "up_to_the_right", "flat", "upright"],
)
def test_orientation_is_counter_clockwise_as_seen(mask: np.ndarray, degrees: float) -> None:
    angle = float(moments(pixels_of(mask.astype(np.int32)), 1).orientation[0])

    assert (angle - degrees) % 180 == pytest.approx(0, abs=1e-4)
    assert -90 <= angle <= 90


def test_disc_is_round_and_convex_and_a_line_is_neither() -> None:
    labels = disks(60, 60, [(20, 20, 12)])
    labels[50, 5:50] = 2

    shape, contour = moments(pixels_of(labels), 2), contours(traced(labels, 2), 2)

    assert shape.eccentricity.tolist() == pytest.approx([0, 1], abs=1e-3)
    assert contour.solidity[0] > 0.96
    assert contour.solidity[1] == pytest.approx(1)
    assert contour.perimeter_px[0] == pytest.approx(2 * np.pi * 12.3, rel=0.07)


def test_stains_are_mean_optical_densities_of_the_pixels() -> None:
    image = np.full((1, 4, 3), 255, np.uint8)
    image[0, 1] = np.round(255 * 10 ** -np.array([0.65, 0.70, 0.29]))  # one unit of hematoxylin
    image[0, 3] = np.round(255 * 10 ** -np.array([0.07, 0.99, 0.11]))  # one unit of eosin

    hematoxylin, eosin = stains(image, pixels_of(np.array([[1, 1, 0, 2]], np.int32)), 2)

    assert hematoxylin.tolist() == pytest.approx([0.5, 0], abs=0.02)
    assert eosin.tolist() == pytest.approx([0, 1], abs=0.02)


def test_worker_processes_import_no_torch() -> None:
    program = "import sys, cellvit.prediction.windows, cellvit.prediction.merge; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
