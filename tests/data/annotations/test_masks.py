import numpy as np
import pytest
from PIL import Image

from cellvit.data.annotations.options import Options
from cellvit.data.annotations.read import read_annotation
from cellvit.errors import ContractError, MissingInputError

SHAPE = (40, 60)


def write(folder, masks):
    folder.mkdir(exist_ok=True)
    for number, mask in enumerate(masks):
        Image.fromarray(np.uint8(255) * mask).save(folder / f"{number:03}.png")
    return folder


def box(top, bottom, left, right):
    mask = np.zeros(SHAPE, bool)
    mask[top:bottom, left:right] = True
    return mask


def read(folder, **options):
    return read_annotation(folder, SHAPE, "masks", Options(**options))


def test_each_mask_is_a_nucleus_in_the_order_of_the_names(tmp_path):
    masks = [box(20, 30, 0, 9), box(2, 9, 10, 20), box(2, 9, 20, 30)]

    annotation = read(write(tmp_path / "a", masks))

    np.testing.assert_array_equal(annotation.instances, masks[0] + 2 * masks[1] + 3 * masks[2])
    assert annotation.classes == ("",) * 3
    assert annotation.counts == {"cut_by_border": 1}


def test_of_overlapping_nuclei_the_smaller_has_the_common_pixels_and_of_equals_the_later(tmp_path):
    small, large = box(5, 9, 5, 9), box(2, 20, 2, 20)
    first, second = box(25, 30, 30, 40), box(25, 30, 35, 45)

    annotation = read(write(tmp_path / "a", [small, large, first, second]))

    expected = 2 * large
    expected[small], expected[first], expected[second] = 1, 3, 4
    np.testing.assert_array_equal(annotation.instances, expected)
    assert annotation.counts == {"px_in_several": 16 + 25, "overlapping": 2}


def test_duplicates_covered_and_empty_masks_are_left_out_and_counted(tmp_path):
    whole, left, right = box(2, 12, 2, 22), box(2, 12, 2, 12), box(2, 12, 12, 22)
    empty = np.zeros(SHAPE, bool)

    annotation = read(write(tmp_path / "a", [left, whole, empty, left, right]))

    np.testing.assert_array_equal(annotation.instances, left + 2 * right)
    assert annotation.counts == {"duplicates": 1, "covered": 1, "empty_masks": 1, "px_in_several": 200}


def test_ambiguous_areas_are_not_annotated(tmp_path):
    write(tmp_path / "a_png_masks", [box(2, 12, 2, 12), box(20, 30, 20, 30)])
    Image.fromarray(np.uint8(255) * box(1, 13, 1, 20)).save(tmp_path / "a.png")

    annotation = read(tmp_path / "a_png_masks", not_annotated_file="{name}.png")

    np.testing.assert_array_equal(annotation.instances, box(20, 30, 20, 30))
    np.testing.assert_array_equal(annotation.annotated, ~box(1, 13, 1, 20))
    assert annotation.counts == {"not_annotated": 1}


def test_one_empty_mask_is_an_image_without_nuclei(tmp_path):
    annotation = read(write(tmp_path / "a", [np.zeros(SHAPE, bool)]))

    assert annotation.classes == ()


def test_hidden_files_and_those_of_the_system_are_no_masks(tmp_path):
    folder = write(tmp_path / "a", [box(2, 12, 2, 12)])
    (folder / ".DS_Store").touch()
    (folder / "Thumbs.db").touch()

    assert len(read(folder).classes) == 1


def test_folders_that_hold_anything_else_are_refused(tmp_path):
    folder = write(tmp_path / "a", [box(2, 12, 2, 12)])
    (folder / "notes.txt").touch()
    (tmp_path / "empty").mkdir()

    with pytest.raises(ContractError, match=r"found notes\.txt\. Fix"):
        read(folder)
    with pytest.raises(ContractError, match=r"found an empty folder.*an image without nuclei has one mask"):
        read(tmp_path / "empty")
    with pytest.raises(MissingInputError, match="does not exist"):
        read(tmp_path / "missing")
    with pytest.raises(ContractError, match="found a file"):
        read(folder / "notes.txt")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        pytest.param(
            np.arange(2400).reshape(SHAPE) % 200, "0 and one other value, found 200 values up to 199", id="grey"
        ),
        pytest.param(~box(2, 9, 2, 9) * 255, "found 98% of the image.*invert", id="inverted"),
        pytest.param(np.zeros((60, 40)), "shape of its image", id="shape"),
        pytest.param(np.zeros((40, 60, 3)), "colour picture", id="colour"),
    ],
)
def test_files_that_are_no_mask_of_one_nucleus_are_refused(tmp_path, mask, message):
    folder = write(tmp_path / "a", [])
    Image.fromarray(mask.astype(np.uint8)).save(folder / "x.png")

    with pytest.raises(ContractError, match=rf"x\.png: .*{message}"):
        read(folder)


def test_one_mask_of_all_nuclei_is_a_binary_mask(tmp_path):
    folder = write(tmp_path / "a", [box(2, 9, 2, 9) | box(20, 30, 20, 30)])

    with pytest.raises(ContractError, match="a binary mask in place of instances"):
        read(folder)
