"""Distance maps and HoVer-Net's watershed equal slow programs written from the paper, on maps of all difficult kinds."""

from collections.abc import Callable

import hover_reference as reference
import instance_maps
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cellvit.hover.decode import segment
from cellvit.hover.encode import hv_maps
from cellvit.hover.upper_bound import perfect_maps

every_kind = pytest.mark.parametrize("kind", instance_maps.KINDS)

unshrunk = settings(phases=[Phase.explicit, Phase.reuse, Phase.generate])
"""The tiles come from a seed, so that shrinking it gives no simpler tile."""

LEVELS = 64
"""Steps from 0 to 1 of the decoder maps below: so few that every sum of a Sobel filter is exact in float64, and the
order of the additions cannot move a pixel across a threshold. Hence no label may differ."""

PARAMETERS = {
    "published": {},
    "half_resolution": {"sobel_px": 11, "min_object_px": 3, "min_marker_px": 3, "opening_px": 3},
    "small_kernel": {"sobel_px": 5, "hv_threshold": 0.5, "opening_px": 1},
    "nothing_dropped": {"sobel_px": 3, "hv_threshold": 0.6, "min_object_px": 0, "min_marker_px": 0, "opening_px": 2},
    "low_thresholds": {"sobel_px": 15, "np_threshold": 0.25, "hv_threshold": 0.3, "opening_px": 4},
    "thresholds_that_are_met": {
        "sobel_px": 5,
        "hv_threshold": 1.0,
        "min_object_px": 4,
        "min_marker_px": 4,
        "opening_px": 1,
    },
    "much_dropped": {"sobel_px": 11, "hv_threshold": 0.7, "min_object_px": 40, "min_marker_px": 25, "opening_px": 7},
}


@st.composite
def decoder_maps(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Exact or noisy maps of nuclei that touch, are nested or are cut by the border."""
    kind = draw(st.sampled_from(["touching", "nested", "cut_by_border", "scattered", "full_of_several"]))
    truth = draw(instance_maps.instance_maps(kind, side_px=(24, 40)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    noise = draw(st.sampled_from([0.0, 0.05, 0.3]))
    hv = hv_maps(truth[None])[0] + rng.normal(0, noise, (2, *truth.shape))
    np_prob = np.where(truth > 0, 1.0, 0.0) + rng.normal(0, noise, truth.shape)
    return (
        np.round(np.clip(np_prob, 0, 1) * LEVELS).astype(np.float32) / LEVELS,
        np.round(np.clip(hv, -1, 1) * LEVELS).astype(np.float32) / LEVELS,
    )


@every_kind
@settings(unshrunk, max_examples=8)
@given(data=st.data())
def test_distance_maps_equal_the_reference_bit_for_bit(kind: str, data: st.DataObject) -> None:
    instances = data.draw(instance_maps.instance_maps(kind))

    assert np.array_equal(hv_maps(instances[None])[0], reference.hv_maps(instances))


def test_distances_too_large_for_float32_equal_the_reference_bit_for_bit() -> None:
    instances = np.zeros((4, 2100), np.int32)  # pixels times width exceed 2^24, up to which float32 holds all integers
    instances[0, 3:], instances[1:, :2050], instances[2, 100:1999] = 1, 2, 3

    assert np.array_equal(hv_maps(instances[None])[0], reference.hv_maps(instances))


def test_zero_is_at_the_centre_and_not_a_pixel_before_it_as_in_the_program_of_the_authors() -> None:
    even, odd = np.ones((1, 1, 6), np.int32), np.ones((1, 1, 7), np.int32)

    # HoVer-Net's and CellViT's programs: [-1, -1/2, 0, 1/3, 2/3, 1] and [-1, -1/2, 0, 1/4, 1/2, 3/4, 1].
    assert hv_maps(even)[0, 0, 0] == pytest.approx([-1, -3 / 5, -1 / 5, 1 / 5, 3 / 5, 1])
    assert hv_maps(odd)[0, 0, 0] == pytest.approx([-1, -2 / 3, -1 / 3, 0, 1 / 3, 2 / 3, 1])


@pytest.mark.parametrize("row", [0, 1, 2, 12, 24, 25])
@pytest.mark.parametrize("column", [0, 1, 2, 12, 24, 25])
def test_nucleus_at_the_border_has_the_distances_of_one_in_the_middle(row: int, column: int) -> None:
    # HoVer-Net's program gives a nucleus within 2 px of the top or the left border no distances at all.
    nucleus = np.array([[0, 1, 1, 1, 0, 0, 0], *[[1] * 6 + [0]] * 5, [0, 0, 1, 1, 1, 1, 1]], np.int32)
    middle, at_border = np.zeros((2, 1, 32, 32), np.int32)
    middle[0, 12:19, 12:19] = nucleus
    at_border[0, row : row + 7, column : column + 7] = nucleus

    hv = hv_maps(at_border)[0, :, row : row + 7, column : column + 7]

    assert np.array_equal(hv, hv_maps(middle)[0, :, 12:19, 12:19])
    assert hv.min(axis=(1, 2)).tolist() == [-1, -1]
    assert hv.max(axis=(1, 2)).tolist() == [1, 1]


@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS)
@settings(unshrunk, max_examples=20)
@given(maps=decoder_maps())
def test_watershed_equals_the_reference_label_by_label(
    parameters: dict[str, float], maps: tuple[np.ndarray, np.ndarray]
) -> None:
    assert np.array_equal(segment(*maps, method="hovernet", **parameters), reference.segment(*maps, **parameters))


def test_watershed_and_its_reference_separate_touching_discs_and_find_nothing_without_distances(
    discs: Callable[..., np.ndarray],
) -> None:
    np_prob, hv = perfect_maps(discs((20, 11), (20, 28), size_px=40))

    labels = reference.segment(np_prob, hv)

    assert np.array_equal(segment(np_prob, hv, method="hovernet"), labels)
    assert (labels.max(), labels[20, 11], labels[20, 28]) == (2, 1, 2)
    for decode in (segment, reference.segment):
        assert not decode(np_prob, np.zeros_like(hv)).any()
        assert not decode(np.ones_like(np_prob), np.zeros_like(hv)).any()
