"""Broken images, binary masks and wrong resolutions are found, and data as it should be passes."""

import cv2
import numpy as np
import pytest

from cellvit.data.findings import Finding, settle
from cellvit.data.plausibility import (
    image_fault,
    image_findings,
    likely_factor,
    measured_nuclei,
    nuclei_findings,
    overlap_findings,
)
from cellvit.errors import IntegrityError
from cellvit.formats.dataset import NOT_ANNOTATED

CLASSES = ("Background", "Tumour", "Stroma")


def tissue(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 240, (256, 256, 3), dtype=np.uint8)


def nuclei_map(*, side_px: int = 20, pitch_px: int = 30) -> np.ndarray:
    """Square nuclei in a grid."""
    instances = np.zeros((256, 256), np.int32)
    for label, (y, x) in enumerate(((y, x) for y in range(8, 220, pitch_px) for x in range(8, 220, pitch_px)), start=1):
        instances[y : y + side_px, x : x + side_px] = label
    return instances


def findings_of(instances: np.ndarray, *, mpp: float = 0.25, classes: np.ndarray | None = None) -> tuple[Finding, ...]:
    """Findings about a data set of four such images."""
    of_pixels = (instances > 0).astype(np.uint8) if classes is None else classes
    measured = measured_nuclei(instances, of_pixels, mpp=mpp)
    return nuclei_findings({f"image{number}.png": measured for number in range(4)}, CLASSES, mpp=mpp)


def kinds(findings: tuple[Finding, ...]) -> list[tuple[str, bool]]:
    return [(finding.kind, finding.stops) for finding in findings]


def with_last_rows(level: int, n: int) -> np.ndarray:
    image = tissue()
    image[-n:] = level
    return image


def with_part(part: tuple[slice, ...] | slice, colour: object) -> np.ndarray:
    image = tissue()
    image[part] = colour
    return image


def with_frame(level: int) -> np.ndarray:
    image = np.full((256, 256, 3), level, np.uint8)
    image[20:-20, 20:-20] = tissue()[20:-20, 20:-20]
    return image


@pytest.mark.parametrize(
    ("image", "fault"),
    [
        pytest.param(tissue(), "", id="tissue"),
        pytest.param(with_frame(0), "cut_off_image", id="black_frame"),
        pytest.param(with_frame(114), "cut_off_image", id="grey_frame"),
        pytest.param(with_frame(243), "", id="frame_of_background"),
        pytest.param(with_part(slice(100, 180), 0), "cut_off_image", id="hole_in_the_file"),
        pytest.param(with_part(slice(None, None, 2), 0), "cut_off_image", id="every_second_row"),
        pytest.param(with_part(slice(0, 40), (255, 0, 255)), "cut_off_image", id="magenta_rows"),
        pytest.param(with_part((slice(None), slice(None), 2), 255), "constant_image", id="blue_is_255"),
        pytest.param(np.ascontiguousarray(tissue()[..., [0, 0, 2]]), "constant_image", id="red_in_place_of_green"),
        pytest.param(np.ascontiguousarray(tissue()[..., [1, 1, 1]]), "", id="grey_image"),
        pytest.param(np.zeros((256, 256, 3), np.uint8), "constant_image", id="black"),
        pytest.param(np.full((256, 256, 3), 255, np.uint8), "constant_image", id="white"),
        pytest.param(np.full((64, 90, 3), (200, 10, 30), np.uint8), "constant_image", id="one_colour"),
        pytest.param(with_last_rows(0, 128), "cut_off_image", id="half_is_black"),
        pytest.param(with_last_rows(128, 40), "cut_off_image", id="jpeg_that_was_cut_off"),
        pytest.param(with_last_rows(0, 40)[::-1], "cut_off_image", id="upper_rows_are_black"),
        pytest.param(with_last_rows(0, 128).swapaxes(0, 1), "cut_off_image", id="right_half_is_black"),
        pytest.param(with_last_rows(128, 40).swapaxes(0, 1)[:, ::-1], "cut_off_image", id="left_columns_are_grey"),
        pytest.param(
            np.repeat([[[0] * 3], [[128] * 3]], [100, 90], axis=0).repeat(90, axis=1).astype(np.uint8),
            "cut_off_image",
            id="black_and_grey",
        ),
        pytest.param(tissue() * np.array([1, 0, 1], np.uint8), "constant_image", id="no_green"),
        pytest.param(with_last_rows(0, 10), "", id="thin_black_line"),
        pytest.param(with_last_rows(255, 200), "", id="mostly_white"),
    ],
)
def test_images_that_show_nothing_are_faults(image, fault):
    assert image_fault(image) == fault


def test_a_nearly_white_image_is_legal():
    image = np.full((256, 256, 3), 255, np.uint8)
    image[10, 10] = 254

    assert image_fault(image) == ""


def test_pixels_that_are_not_annotated_are_not_judged():
    image, annotated = with_last_rows(0, 128), np.ones((256, 256), bool)
    annotated[-128:] = False

    assert image_fault(image, annotated) == ""
    assert image_fault(image, ~annotated) == "constant_image"
    assert image_fault(image, np.zeros((256, 256), bool)) == ""


def test_broken_images_stop_and_are_named():
    (finding,) = image_findings({"a.png": "", "b.png": "constant_image", "c.png": "constant_image"})

    assert (finding.kind, finding.places, finding.stops) == ("constant_image", ("b.png", "c.png"), True)
    assert "2 of 3" in finding.message
    assert "copy or export the images again" in finding.message


def test_nuclei_of_usual_size_are_plausible():
    assert findings_of(nuclei_map()) == ()


def test_an_image_without_nuclei_has_no_findings():
    assert findings_of(np.zeros((256, 256), np.int32)) == ()
    assert nuclei_findings({}, CLASSES) == ()


def test_binary_masks_stop_and_the_class_is_named():
    binary = (nuclei_map() > 0).astype(np.int32)

    (finding,) = findings_of(binary)

    assert (finding.kind, finding.stops) == ("binary_masks", True)
    assert "4 of 4 nuclei of class Tumour are in several separate parts" in finding.message


def test_one_binary_class_among_instances_is_found():
    instances = nuclei_map()
    classes = np.where(instances > 30, 2, instances > 0).astype(np.uint8)
    instances[classes == 2] = 31

    (finding,) = findings_of(instances, classes=classes)

    assert finding.kind == "binary_masks"
    assert "of class Stroma" in finding.message


def test_stray_pixels_do_not_make_a_mask_binary():
    instances = nuclei_map()
    for label in range(1, 30):
        y, x = np.argwhere(instances == label)[0]
        instances[y - 3, x] = label

    assert findings_of(instances) == ()


def test_outlines_of_nuclei_stop():
    instances = nuclei_map()
    for y, x in ((y, x) for y in range(8, 220, 30) for x in range(8, 220, 30)):
        instances[y + 2 : y + 18, x + 2 : x + 18] = 0

    (finding,) = findings_of(instances)

    assert (finding.kind, finding.stops) == ("hollow_masks", True)
    assert "The masks seem to be the outlines of nuclei. Fix: fill the outlines" in finding.message


def test_many_covered_nuclei_stop_and_a_few_do_not():
    (finding,) = overlap_findings(90, 10, ["f1-00002"])

    assert (finding.kind, finding.stops, finding.places) == ("overlapping_classes", True, ("f1-00002",))
    assert "10 of 100 nuclei are covered by nuclei of another class channel" in finding.message
    assert overlap_findings(91, 9, ["f1-00002"]) == overlap_findings(1000, 100, ["f1-00002"]) == ()


def test_parts_that_touch_by_a_corner_are_one():
    instances = np.zeros((64, 64), np.int32)
    instances[10:20, 10:20] = instances[20:30, 20:30] = 1

    assert measured_nuclei(instances, (instances > 0).astype(np.uint8), mpp=0.25).largest_part.tolist() == [1.0]


@pytest.mark.parametrize(
    ("mpp", "factor", "plausible"),
    [(0.125, 2, 0.25), (0.0625, 4, 0.25), (2.0, 0.125, 0.25), (250.0, 0.000976562, 0.244141), (0.0125, 16, 0.2)],
)
def test_a_wrong_resolution_stops_and_the_likely_one_is_named(mpp, factor, plausible):
    (finding,) = findings_of(nuclei_map(), mpp=mpp)

    assert (finding.kind, finding.stops) == ("resolution", True)
    assert f"by a factor of {factor:g}: {mpp:g} was given, {plausible:g} would be plausible" in finding.message


def test_few_nuclei_of_unusual_size_warn_only():
    instances = np.zeros((256, 256), np.int32)
    instances[10:18, 10:18] = 1

    assert kinds(findings_of(instances)) == [("resolution", False)]


def test_parts_of_nuclei_at_the_border_do_not_count_for_the_median():
    instances = nuclei_map()
    instances[:, -2:] = np.arange(1000, 1256)[:, None]  # slivers of nuclei that the border cuts
    classes = (instances > 0).astype(np.uint8)

    assert findings_of(instances, classes=classes) == ()
    assert not measured_nuclei(instances, classes, mpp=0.25).whole[-256:].any()


def test_nuclei_at_a_region_that_is_not_annotated_are_not_whole():
    instances = np.zeros((64, 64), np.int32)
    instances[10:20, 10:20], instances[40:50, 40:50] = 1, 2
    classes = (instances > 0).astype(np.uint8)
    classes[20:25] = NOT_ANNOTATED

    assert measured_nuclei(instances, classes, mpp=0.25).whole.tolist() == [False, True]


def test_a_nucleus_of_absurd_size_is_warned_of_with_its_image():
    normal = measured_nuclei(nuclei_map(), (nuclei_map() > 0).astype(np.uint8), mpp=0.25)
    region = np.zeros((300, 300), np.int32)
    region[20:280, 20:280] = 1
    images = {"normal.png": normal, "region.png": measured_nuclei(region, region.astype(np.uint8), mpp=0.25)}

    (finding,) = nuclei_findings(images, CLASSES)

    assert (finding.kind, finding.places, finding.stops) == ("absurd_size", ("region.png",), False)
    assert "the largest with 73 um" in finding.message


def test_many_specks_are_warned_of():
    instances = nuclei_map()
    instances[2:4:2, 2:250:4] = np.arange(1000, 1062)

    assert kinds(findings_of(instances)) == [("specks", False)]


def test_the_likely_factor_is_a_power_of_two():
    assert [likely_factor(um) for um in (0.75, 1.6, 2.9, 6.0, 26.0)] == [8, 4, 2, 1, 0.25]


def test_findings_that_warn_are_logged_and_those_that_stop_are_raised(caplog):
    warning = Finding("specks", "Too many.", tuple(f"{n}.png" for n in range(12)), stops=False)
    stopping = Finding("binary_masks", "Fix: export instance masks.", ("a.png",), stops=True)

    settle("data/own", [warning])
    settle("data/own", [warning, stopping], accepted=[stopping.kind])
    with pytest.raises(IntegrityError, match=r"data/own.*\n.*binary_masks: Fix: export instance masks. In: a.png"):
        settle("data/own", [warning, stopping])

    assert "data/own: specks: Too many. In: 0.png, 1.png" in caplog.text
    assert "9.png and 2 more." in caplog.text


@pytest.mark.real_tiles
def test_real_tiles_are_plausible_and_their_binary_masks_and_wrong_resolutions_are_not(repository):
    folder = repository.parent / "shared" / "real_tiles"
    masks = {
        path.stem: cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted((folder / "instances").iterdir())[::3]
    }

    def found(*, factor: float = 1.0, binary: bool = False) -> list[tuple[str, bool]]:
        measured = {}
        for name, mask in masks.items():
            instances = (mask > 0 if binary else mask).astype(np.int32)
            measured[name] = measured_nuclei(instances, (mask > 0).astype(np.uint8), mpp=0.25 * factor)
        return kinds(nuclei_findings(measured, CLASSES))

    assert found() == []
    assert found(binary=True) == [("binary_masks", True)]
    assert found(factor=0.5) == [("resolution", True)]
    assert found(factor=8) == [("resolution", True)]
