import numpy as np
import pytest

from cellvit.data.pannuke import check_fold, fold_files, read_blocks, read_names, read_types
from cellvit.errors import ContractError, MissingInputError


@pytest.fixture
def files(tmp_path, write_raw_fold):
    return fold_files(write_raw_fold(tmp_path, 1, ["Colon", "Bile-duct"]), 1)


def change(path, place, value):
    array = np.load(path)
    array[place] = value
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

    with pytest.raises(MissingInputError, match=r"masks\.npy(.|\n)*set data\.root to the folder with"):
        read_types(files)


@pytest.mark.parametrize(
    ("brightest", "nuclear_px", "message"), [(1, 9, r"scaled to 0\.\.1"), (255, 0, "found no nucleus in 2 tiles")]
)
def test_scaled_images_and_a_fold_without_any_nucleus_are_refused(files, brightest, nuclear_px, message):
    with pytest.raises(ContractError, match=message):
        check_fold(files, mismatch_px=0, nuclear_px=nuclear_px, brightest=brightest, n=2)


def test_a_web_page_and_a_truncated_array_are_refused_with_their_start(files):
    for content, start in ((b"<!DOCTYPE html><html>", "<!DOCTYPE html>"), (files.masks.read_bytes()[:4096], "NUMPY")):
        files.images.write_bytes(content)

        with pytest.raises(ContractError, match=rf"images\.npy: .*{start}.*broken download, a web page") as caught:
            read_types(files)

        assert "allow_pickle" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("types", ["Colon", "Bile_duct"], r'row 1 is "Bile_duct"(.|\n)*Did you mean Bile-duct'),
        ("images", np.zeros((2, 256, 256, 4)), r"expected .*\(2, 256, 256, 3\).*found .*\(2, 256, 256, 4\)"),
        ("masks", np.zeros((2, 256, 256, 5)), r"expected .*\(2, 256, 256, 6\).*found .*\(2, 256, 256, 5\)"),
        ("masks", np.zeros((3, 256, 256, 6)), r"expected .*\(2, 256, 256, 6\).*found .*\(3, 256, 256, 6\)"),
    ],
    ids=["organ", "channels_of_images", "channels_of_masks", "length"],
)
def test_a_misspelled_organ_and_another_shape_are_refused_with_what_is_expected(files, name, array, message):
    np.save(files.by_name[name], np.array(array))

    with pytest.raises(ContractError, match=message):
        read_types(files)


@pytest.mark.parametrize("value", [256.0, -1.0, 12.5, np.nan])
def test_a_pixel_that_is_not_a_byte_is_refused_with_its_place(files, value):
    change(files.images, (1, 20, 30, 2), value)

    with pytest.raises(ContractError, match=r"tile 1 has .* at row 20, column 30, channel 2"):
        list(read_blocks(files))


def test_background_first_is_refused(files):
    np.save(files.masks, np.load(files.masks)[..., [5, 0, 1, 2, 3, 4]])

    with pytest.raises(ContractError, match="must be binary background"):
        list(read_blocks(files))


def test_contradicting_background_pixels_are_counted_and_refused_if_they_are_many(files):
    def mismatch():
        return sum(block.background_mismatch_px for block in read_blocks(files))

    change(files.masks, (0, 0, slice(0, 9), 5), 0)
    assert mismatch() == 9
    check_fold(files, mismatch_px=9, nuclear_px=9, brightest=255, n=2)
    change(files.masks, (..., 5), np.load(files.masks)[..., :5].any(-1))
    with pytest.raises(ContractError, match=r"100\.0% of pixels"):
        check_fold(files, mismatch_px=mismatch(), nuclear_px=9, brightest=255, n=2)


def test_whole_numbers_of_any_dtype_are_read(files):
    np.save(files.images, np.load(files.images).astype(np.uint8))
    np.save(files.masks, np.load(files.masks).astype(np.uint16))

    assert len(list(read_blocks(files))) == 1


KINDS = pytest.mark.parametrize("kind", ["patients", "sources"])


@KINDS
def test_without_their_file_names_are_unknown(files, kind):
    assert read_names(files, kind, 2) == ("", "")
    assert list(files.inputs) == ["images", "types", "masks"]


@KINDS
@pytest.mark.parametrize(
    "names",
    [np.array(["Müller", ""]), np.array(["Müller".encode(), b""]), np.array(["Müller", ""], dtype="U200")],
    ids=["text", "bytes", "wider_than_any_name"],
)
def test_tiles_are_named_as_in_the_file(files, kind, names):
    np.save(getattr(files, kind), names)

    assert read_names(files, kind, 2) == ("Müller", "")
    assert list(files.inputs) == ["images", "types", "masks", kind]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([7, 8], r"found int64 \(2,\)"),
        (["p1"], r"expected names of KIND \(2,\).*found <U2 \(1,\)"),
        ([["p1"], ["p2"]], r"found <U2 \(2, 1\)"),
        (np.array(["p1", None], dtype=object), r"cannot be read as a \.npy array.*pickled objects"),
        (["p1", "ü" * 33], r"row 1 is .*\(66 bytes\); expected at most 64 bytes"),
        (["p1", "p\n2"], r'row 1 is "p\\n2".*printable UTF-8'),
        (["p1 ", "p1"], r'row 0 is "p1 ".*without spaces around it'),
        ([b"M\xfcller", b"p2"], r"row 0 is .*printable UTF-8.*different for different KIND"),
        (["p1", "\ud800"], r"row 1 is .*printable UTF-8"),
    ],
)
@pytest.mark.parametrize(
    ("kind", "without"),
    [("patients", "intervals are then over tiles"), ("sources", "there are then no values by source")],
)
def test_names_that_cannot_be_read_are_refused_with_the_fix(files, kind, without, names, found):
    path = getattr(files, kind)
    np.save(path, np.array(names))

    with pytest.raises(ContractError, match=found.replace("KIND", kind)) as caught:
        read_names(files, kind, 2)

    assert str(caught.value).startswith(f"{path}: ")
    assert f"numpy.save(path, numpy.array(names, dtype=str)); or remove the file: {without}" in str(caught.value)
