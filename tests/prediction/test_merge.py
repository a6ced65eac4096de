from functools import cache

import cv2
import numpy as np
import pytest
import shapely
from nuclei_fields import all_candidates, disks, maps_of, merged, merged_in_chunks, random_field

from cellvit.data.annotations.pixels import pixels_inside
from cellvit.formats.nuclei import NucleiTable
from cellvit.hover.decode import HoverNetWatershed, HvFlow, Watershed
from cellvit.prediction.measurements import contours, moments, pixels_of
from cellvit.prediction.merge import resolved
from cellvit.prediction.outlines import polygons, traced

SIDE = 60


def candidate(mask: np.ndarray, window: tuple[int, int] = (0, 0), **columns: object) -> NucleiTable:
    """A candidate with these pixels, owned, complete and 10 px from the centre of its window unless columns say otherwise."""
    labels = mask.astype(np.int32)
    outlines = traced(labels, 1)
    values = {
        "row": window[0], "column": window[1], "owned": True, "cut": False, "centre_px": 10.0,
        "nucleus_class": 1, "hematoxylin": 0.5, "eosin": 0.25, "unlike": False,
    } | columns  # fmt: skip
    measured = moments(pixels_of(labels), 1)._asdict() | contours(outlines, 1)._asdict()
    none = NucleiTable.none(2).columns()
    filled = {name: np.array([value], none[name].dtype) for name, value in values.items()}
    return NucleiTable(**measured, **filled, probability=np.array([[0.75, 0.25]], np.float32), outlines=outlines)


def box(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top:bottom, left:right] = True
    return mask


def areas(nuclei: NucleiTable) -> list[np.ndarray]:
    masks = []
    for geometry in polygons(nuclei, scale=1.0):
        mask = np.zeros((SIDE, SIDE), bool)
        pixels_inside(geometry, mask.shape).paint(mask, True)
        masks.append(mask)
    return masks


def of(*candidates: NucleiTable) -> NucleiTable:
    return merged(NucleiTable.concatenated(candidates))


def same(one: NucleiTable, other: NucleiTable) -> bool:
    columns = all(np.array_equal(values, other.columns()[name]) for name, values in one.columns().items())
    return columns and np.array_equal(one.outlines.points, other.outlines.points)


def in_order(nuclei: NucleiTable) -> NucleiTable:
    return nuclei.at(np.lexsort((nuclei.x, nuclei.y, nuclei.column, nuclei.row)))


def largest_overlap(nuclei: NucleiTable) -> float:
    """Largest area that two nuclei share, in px."""
    found = polygons(nuclei, scale=1.0)
    one, other = shapely.STRtree(found).query(found)
    apart = one < other
    return float(shapely.area(shapely.intersection(found[one[apart]], found[other[apart]])).max(initial=0))


def ious(labels: np.ndarray, nuclei: NucleiTable) -> np.ndarray:
    """IoU of each true nucleus with the nucleus that fits best."""
    found = np.zeros(labels.shape, np.int64)
    for label, geometry in enumerate(polygons(nuclei, scale=1.0), start=1):
        pixels_inside(geometry, labels.shape).paint(found, label)
    n_true, n_found = int(labels.max()), len(nuclei)
    shared = np.bincount(
        (labels.astype(np.int64) * (n_found + 1) + found).ravel(), minlength=(n_true + 1) * (n_found + 1)
    )
    shared = shared.reshape(n_true + 1, n_found + 1)
    union = shared.sum(axis=1)[1:, None] + shared.sum(axis=0)[None, 1:] - shared[1:, 1:]
    return (shared[1:, 1:] / union).max(axis=1, initial=0)


@cache
def noisy(method: Watershed) -> NucleiTable:
    """Candidates from blurred and noisy maps: windows, which scale them by their own extremes, do not agree everywhere."""
    labels = random_field(520, 600, seed=7, spacing=20, large=True)
    np_prob, hv, nt_prob = maps_of(labels)
    rng = np.random.default_rng(1)
    noise = [cv2.GaussianBlur(rng.normal(0, 2.5, labels.shape).astype(np.float32), (0, 0), 3) for _ in range(3)]
    np_prob = np.clip(cv2.GaussianBlur(np_prob, (0, 0), 1.5) + 0.3 * noise[0], 0, 1)
    return all_candidates(np_prob, hv + np.stack(noise[1:]), nt_prob, watershed=method)


methods = pytest.mark.parametrize("watershed", [HvFlow(), HoverNetWatershed()], ids=["hv_flow", "hovernet"])


@pytest.mark.parametrize(
    ("shape", "overlap_px"),
    [((256, 256), 128), ((300, 517), 128), ((640, 500), 128), ((257, 1), 128), ((180, 400), 128), ((450, 500), 64),
     ((450, 500), 32), ((400, 300), 192)],
)  # fmt: skip
def test_field_of_nuclei_comes_back_complete(shape: tuple[int, int], overlap_px: int) -> None:
    labels = random_field(*shape, seed=sum(shape), large=True)

    nuclei = merged(all_candidates(*maps_of(labels), overlap_px=overlap_px))

    large_enough = np.bincount(labels.ravel())[1:] >= 10  # smaller ones, at the border of the image, no window decodes
    assert len(nuclei) == large_enough.sum()
    assert (ious(labels, nuclei)[large_enough] > 0.9).all()
    assert largest_overlap(nuclei) == 0
    assert (np.bincount(nuclei.nucleus_class, minlength=3)[1:] > 0).all() or len(nuclei) < 9


@methods
@pytest.mark.parametrize(
    "nuclei",
    [
        pytest.param([(300, 192 + shift, 8) for shift in (0,)], id="on_a_seam"),
        pytest.param([(300, column, 9) for column in range(175, 500, 21)], id="in_a_row_across_seams"),
        pytest.param([(192, 192, 9), (192, 320, 9.5), (320, 320.5, 10)], id="on_corners_of_four_cores"),
        pytest.param([(192, 192, 50), (320, 330, 50)], id="of_100_px_on_corners"),
        pytest.param([(2, 192, 8), (200, 1, 8), (511, 511, 9)], id="at_the_border_of_the_image"),
        pytest.param([(260, 250, 130)], id="larger_than_a_tile"),
        pytest.param([(260, 250, 200), (20, 20, 8)], id="much_larger_than_a_tile"),
    ],
)
def test_nuclei_in_difficult_places_are_found_once_and_whole(
    nuclei: list[tuple[float, float, float]], watershed: Watershed
) -> None:
    labels = disks(512, 512, nuclei)

    found = merged(all_candidates(*maps_of(labels), watershed=watershed))

    assert len(found) == len(nuclei)
    assert (ious(labels, found) > 0.9).all()
    assert found.area_px.sum() == pytest.approx((labels > 0).sum(), rel=0.05)


@methods
def test_nuclei_from_noisy_maps_do_not_overlap_and_none_is_lost(watershed: Watershed) -> None:
    candidates = noisy(watershed)

    nuclei = merged(candidates)

    assert largest_overlap(nuclei) < 1e-6
    found, before = (polygons(table, scale=1.0) for table in (nuclei, candidates.at(candidates.owned)))
    one, other = shapely.STRtree(found).query(before)
    shared = shapely.area(shapely.intersection(before[one], found[other]))
    covered = np.bincount(one, shared, len(before)) / shapely.area(before)
    assert len(nuclei) < len(candidates)
    assert (covered >= 0.5).all()


@methods
@pytest.mark.parametrize("side", [1, 2, 3])
def test_nuclei_do_not_depend_on_how_windows_are_grouped(side: int, watershed: Watershed) -> None:
    candidates = noisy(watershed)

    assert same(in_order(merged_in_chunks(candidates, side)), merged(candidates))


@pytest.mark.parametrize("seed", range(3))
def test_candidates_at_random_do_not_overlap_afterwards_in_any_grouping(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = np.ogrid[:SIDE, :SIDE]
    by_window = {}  # one for each, because those of one window never overlap
    for _ in range(400):
        x, y, radius = *rng.uniform(8, SIDE - 8, 2), rng.uniform(2, 8)
        window = (int(y) // 6, int(x) // 6 * 2 + int(rng.integers(2)))
        mask = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
        kind = {"owned": rng.random() < 0.7, "cut": rng.random() < 0.3, "centre_px": rng.uniform(0, 90)}
        if window not in by_window:
            by_window[window] = candidate(mask, window, **kind)
    candidates = NucleiTable.concatenated(list(by_window.values()))

    nuclei = merged(candidates)

    assert largest_overlap(nuclei) < 1e-6
    for side in (2, 5):
        assert same(in_order(merged_in_chunks(candidates, side)), nuclei)


def test_image_moved_by_half_a_tile_has_the_same_nuclei_inside() -> None:
    labels = random_field(768, 700, seed=9, large=True)
    np_prob, hv, nt_prob = maps_of(labels)
    rng = np.random.default_rng(0)
    hv += cv2.GaussianBlur(rng.normal(0, 2.5, labels.shape).astype(np.float32), (0, 0), 3)

    whole = merged(all_candidates(np_prob, hv, nt_prob))
    moved = merged(all_candidates(np_prob[128:, 128:], hv[:, 128:, 128:], nt_prob[:, 128:, 128:]))

    def inside(nuclei: NucleiTable, offset: int) -> NucleiTable:
        x, y = nuclei.x + offset, nuclei.y + offset
        return nuclei.at((x > 300) & (x < 650) & (y > 300) & (y < 710))

    first, second = inside(whole, 0), inside(moved, 128)
    assert len(first) > 50
    assert np.array_equal(first.outlines.points, second.outlines.points + 256)
    assert np.array_equal(first.nucleus_class, second.nucleus_class)


def test_better_one_of_two_that_are_the_same_is_kept_as_it_is() -> None:
    near, far = box(10, 10, 20, 20), box(11, 10, 21, 20)

    nuclei = of(candidate(far, (0, 0), centre_px=60), candidate(near, (0, 1), centre_px=50))

    assert same(nuclei, candidate(near, (0, 1), centre_px=50))


def test_complete_candidate_is_better_than_a_cut_one_even_if_its_centroid_is_outside_its_core() -> None:
    whole, cut = box(10, 10, 30, 20), box(10, 10, 24, 20)

    nuclei = of(candidate(cut, (0, 0), cut=True, centre_px=5), candidate(whole, (0, 1), owned=False, centre_px=70))

    assert [mask.sum() for mask in areas(nuclei)] == [whole.sum()]


def test_nucleus_that_no_window_owns_is_found_once() -> None:
    one, other = box(10, 10, 20, 20), box(12, 10, 22, 20)

    nuclei = of(candidate(one, (0, 0), owned=False, centre_px=65), candidate(other, (0, 1), owned=False, centre_px=66))

    assert [mask.tolist() for mask in areas(nuclei)] == [one.tolist()]


def test_second_nucleus_is_not_lost_where_another_window_joins_two() -> None:
    joined, first = box(10, 10, 34, 20), box(10, 10, 21, 20)

    nuclei = of(candidate(joined, (0, 0), centre_px=60), candidate(first, (0, 1), centre_px=20))

    second, kept = areas(nuclei)
    assert np.array_equal(kept, first)
    assert np.array_equal(second, joined & ~first)
    assert nuclei.area_px.tolist() == [second.sum(), first.sum()]
    assert nuclei.x[0] == pytest.approx((21 + 34) / 2)


def test_ring_around_a_smaller_version_is_no_nucleus() -> None:
    large, small = box(10, 10, 40, 40), box(17, 17, 33, 33)

    nuclei = of(candidate(large, (0, 0), centre_px=60), candidate(small, (0, 1), centre_px=20))

    assert [mask.tolist() for mask in areas(nuclei)] == [small.tolist()]


def test_small_overlap_is_cut_from_the_worse_nucleus() -> None:
    better, worse = box(10, 10, 20, 20), box(18, 10, 30, 20)

    nuclei = of(candidate(better, (0, 0), centre_px=20), candidate(worse, (0, 1), centre_px=60))

    first, second = areas(nuclei)
    assert np.array_equal(first, better)
    assert np.array_equal(second, worse & ~better)
    assert nuclei.hematoxylin.tolist() == [0.5, 0.5]


def test_chain_of_three_keeps_both_ends() -> None:
    left, middle, right = box(10, 10, 22, 20), box(15, 10, 27, 20), box(20, 10, 32, 20)

    nuclei = of(
        candidate(left, (0, 0), centre_px=10),
        candidate(middle, (0, 1), centre_px=20),
        candidate(right, (0, 2), centre_px=30),
    )

    assert len(nuclei) == 2
    assert areas(nuclei)[1].sum() == (right & ~left).sum()


def test_pieces_that_no_window_shows_whole_are_united() -> None:
    pieces = [box(5, 5, 30, 40), box(20, 5, 50, 40), box(40, 5, 55, 40)]

    nuclei = of(*(candidate(piece, (0, column), cut=True) for column, piece in enumerate(pieces)))

    assert [mask.sum() for mask in areas(nuclei)] == [50 * 35]
    assert nuclei.area_px.tolist() == [50 * 35]
    assert nuclei.x.tolist() == [30]


def test_no_candidates_are_no_nuclei() -> None:
    around = candidate(box(1, 1, 9, 9))

    assert len(resolved(NucleiTable.none(2), around)) == 0
