import numpy as np
import pytest

from cellvit.data.pannuke import check_fold, fold_files, read_blocks, read_patients, read_types
from cellvit.errors import ContractError, MissingInputError


@pytest.fixture
def files(tmp_path, write_raw_fold):
    return fold_files(write_raw_fold(tmp_path, 1, ["Colon", "Bile-duct"]), 1)


def change(path, edit):
    array = np.load(path)
    edit(array)
    np.save(path, array)


def test_blocks_hold_every_tile_once_and_in_order(tmp_path, write_raw_fold):
    files = fold_files(write_raw_fold(tmp_path, 2, ["Colon"] * 5), 2)

    blocks = list(read_blocks(files, tiles=2))

    assert [block.first for block in blocks] == [0, 2, 4]
    np.testing.assert_array_equal(np.concatenate([block.images for block in blocks]), np.load(files.images))
    assert {block.images.dtype for block in blocks} == {np.dtype(np.uint8)}


def test_organs_are_read_and_a_missing_file_is_named_with_the_fix(files):
    assert read_types(files) == ("Colon", "Bile-duct")
    files.masks.unlink()

    with pytest.raises(MissingInputError, match=r"masks\.npy") as caught:
        read_types(files)

    assert "set data.root to the folder with" in str(caught.value)


@pytest.mark.parametrize(
    ("brightest", "nuclear_px", "message"), [(1, 9, r"scaled to 0\.\.1"), (255, 0, "found no nucleus in 2 tiles")]
)
def test_scaled_images_and_a_fold_without_any_nucleus_are_refused(files, brightest, nuclear_px, message):
    with pytest.raises(ContractError, match=message):
        check_fold(files, mismatch_px=0, nuclear_px=nuclear_px, brightest=brightest, n=2)


def test_a_web_page_and_a_truncated_array_are_refused_with_their_start(files):
    files.images.write_text("<!DOCTYPE html><html>Sign in</html>")

    with pytest.raises(ContractError, match="broken download, a web page") as caught:
        read_types(files)

    assert "<!DOCTYPE html>" in str(caught.value)
    assert "allow_pickle" not in str(caught.value)
    files.images.write_bytes(files.masks.read_bytes()[:4096])
    with pytest.raises(ContractError, match=r"images\.npy: the file cannot be read as a \.npy array"):
        read_types(files)


def test_a_misspelled_organ_is_named_with_its_row_and_the_nearest(files):
    np.save(files.types, np.array(["Colon", "Bile_duct"]))

    with pytest.raises(ContractError, match=r'row 1 is "Bile_duct"(.|\n)*Did you mean Bile-duct'):
        read_types(files)


@pytest.mark.parametrize(
    ("name", "shape"), [("images", (2, 256, 256, 4)), ("masks", (2, 256, 256, 5)), ("masks", (3, 256, 256, 6))]
)
def test_another_shape_is_refused_with_both(files, name, shape):
    np.save(files.by_name[name], np.zeros(shape))

    with pytest.raises(ContractError) as caught:
        read_types(files)

    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("value", [256.0, -1.0, 12.5, np.nan])
def test_a_pixel_that_is_not_a_byte_is_refused_with_its_place(files, value):
    change(files.images, lambda images: images.__setitem__((1, 20, 30, 2), value))

    with pytest.raises(ContractError, match=r"tile 1 has .* at row 20, column 30, channel 2"):
        list(read_blocks(files))


def test_background_first_is_refused(files):
    masks = np.load(files.masks)
    np.save(files.masks, masks[..., [5, 0, 1, 2, 3, 4]])

    with pytest.raises(ContractError, match="must be binary background"):
        list(read_blocks(files))


def test_an_inverted_background_is_refused(files):
    change(files.masks, lambda masks: masks.__setitem__((..., 5), 1 - masks[..., 5]))
    mismatch = sum(block.background_mismatch_px for block in read_blocks(files))

    with pytest.raises(ContractError, match=r"100\.0% of pixels"):
        check_fold(files, mismatch_px=mismatch, nuclear_px=9, brightest=255, n=2)


def test_a_few_contradicting_background_pixels_are_counted_and_accepted(files):
    change(files.masks, lambda masks: masks.__setitem__((0, 0, slice(0, 9), 5), 0))

    mismatch = sum(block.background_mismatch_px for block in read_blocks(files))

    assert mismatch == 9
    check_fold(files, mismatch_px=mismatch, nuclear_px=9, brightest=255, n=2)


def test_whole_numbers_of_any_dtype_are_read(files):
    np.save(files.images, np.load(files.images).astype(np.uint8))
    np.save(files.masks, np.load(files.masks).astype(np.uint16))

    assert len(list(read_blocks(files))) == 1


def test_without_their_file_patients_are_unknown(files):
    assert read_patients(files, 2) == ("", "")
    assert list(files.inputs) == ["images", "types", "masks"]


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(np.array(["Müller", ""]), id="text"),
        pytest.param(np.array(["Müller".encode(), b""]), id="bytes"),
        pytest.param(np.array(["Müller", ""], dtype="U200"), id="wider_than_any_name"),
    ],
)
def test_patients_are_named_as_in_their_file(files, names):
    np.save(files.patients, names)

    assert read_patients(files, 2) == ("Müller", "")
    assert list(files.inputs) == ["images", "types", "masks", "patients"]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        pytest.param(
            np.array(["p1", None], dtype=object), r"cannot be read as a \.npy array.*pickled objects", id="objects"
        ),
        pytest.param(np.array(["p1"]), r"expected names of patients \(2,\).*found <U2 \(1,\)", id="length"),
        pytest.param(np.array([["p1"], ["p2"]]), r"found <U2 \(2, 1\)", id="axes"),
        pytest.param(np.array([7, 8]), r"found int64 \(2,\)", id="numbers"),
        pytest.param(np.array(["p1", "ü" * 33]), r"row 1 is .*\(66 bytes\); expected at most 64 bytes", id="long"),
        pytest.param(np.array(["p1", "p\n2"]), r'row 1 is "p\\n2".*printable UTF-8', id="unprintable"),
        pytest.param(np.array(["p1 ", "p1"]), r'row 0 is "p1 ".*without spaces around it', id="space_at_the_end"),
        pytest.param(np.array([b"M\xfcller", b"p2"]), r"row 0 is .*printable UTF-8", id="latin_1"),
        pytest.param(np.array(["p1", "\ud800"]), r"row 1 is .*printable UTF-8", id="lone_surrogate"),
    ],
)
def test_patients_that_cannot_be_read_are_refused_with_the_fix(files, names, found):
    np.save(files.patients, names)

    with pytest.raises(ContractError, match=found) as caught:
        read_patients(files, 2)

    assert str(caught.value).startswith(f"{files.patients}: ")
    assert "numpy.save(path, numpy.array(names, dtype=str)); or remove the file" in str(caught.value)
