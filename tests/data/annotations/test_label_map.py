import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from cellvit.data.annotations.options import Options, Place
from cellvit.data.annotations.read import read_annotation
from cellvit.errors import ContractError, MissingInputError

SHAPE = (40, 60)


def save_png(path, array):
    path.write_bytes(imagecodecs.png_encode(array))
    return path


def read(path, shape=SHAPE, **options):
    return read_annotation(path, shape, "label-map", Options(**options))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        pytest.param("a.png", lambda path, ids: save_png(path, ids.astype(np.uint16)), id="png16"),
        pytest.param("a.tif", lambda path, ids: tifffile.imwrite(path, ids.astype(np.uint16)), id="tiff16"),
        pytest.param("a.tiff", lambda path, ids: tifffile.imwrite(path, ids, compression="lzw", tile=(16, 16)), id="tiff32"),
        pytest.param("b.tif", lambda path, ids: tifffile.imwrite(path, ids.astype(np.uint32), compression="zlib"), id="tiff_u32"),
        pytest.param("a.npy", np.save, id="npy"),
        pytest.param("b.npy", lambda path, ids: np.save(path, np.asfortranarray(ids.astype(">u4"))), id="npy_columns_first"),
    ],
)  # fmt: skip
def test_label_maps_of_all_depths_give_their_nuclei_in_the_order_of_ids(tmp_path, ids, instances, name, write):
    path = tmp_path / name
    write(path, ids)

    annotation = read(path)

    np.testing.assert_array_equal(annotation.instances, instances)
    assert annotation.instances.dtype == np.int32
    assert annotation.classes == ("",) * 4
    assert annotation.annotated.all()
    assert annotation.counts == {"missing_ids": 296, "several_parts": 1, "cut_by_border": 1}


@pytest.mark.parametrize("mode", ["L", "P", "tiff"])
def test_eight_bits_give_ids_also_where_they_are_indices_of_colours(tmp_path, instances, mode):
    path = tmp_path / ("a.tif" if mode == "tiff" else "a.png")
    if mode == "tiff":
        colours = np.random.default_rng(0).integers(0, 1 << 16, (3, 256)).astype(np.uint16)
        tifffile.imwrite(path, instances.astype(np.uint8), photometric="palette", colormap=colours)
    else:
        picture = Image.fromarray(instances.astype(np.uint8), "L" if mode == "L" else None)
        if mode == "P":
            picture = picture.copy()
            picture.putpalette([255, 0, 0] * 256)
        picture.save(path)

    np.testing.assert_array_equal(read(path).instances, instances)


def test_classes_come_from_a_second_map_by_most_pixels(tmp_path, ids):
    classes = np.where(ids == 7, 2, 0) + np.where(ids == 3, 5, 0) + np.where(ids == 300, 1, 0)
    classes[10:12, 10:20] = 4  # 20 of 80 px of nucleus 7
    classes[30:38, 50:60] = 0  # 80 of 100 px of nucleus 300
    classes[0, :3] = 6  # outside all nuclei
    np.save(tmp_path / "a.npy", ids)
    save_png(tmp_path / "a_class.png", classes.astype(np.uint8))

    annotation = read(tmp_path / "a.npy", class_file="{name}_class.png")

    assert annotation.classes == ("5", "2", "", "1")
    assert {name: n for name, n in annotation.counts.items() if "class" in name} == {
        "several_classes": 1,
        "partly_without_class": 1,
        "class_px_outside": 3,
        "without_class": 1,
    }


def test_of_two_classes_with_equally_many_pixels_the_smaller_is_taken(tmp_path):
    ids, classes = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    ids[5:10, 5:15] = 1
    classes[5:10, 5:10], classes[5:10, 10:15] = 3, 2
    np.save(tmp_path / "a.npy", ids)
    np.save(tmp_path / "c.npy", classes)
    (tmp_path / "a_c.npy").write_bytes((tmp_path / "c.npy").read_bytes())

    assert read(tmp_path / "a.npy", class_file="{name}_c.npy").classes == ("2",)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_classes_come_from_a_table(tmp_path, ids, delimiter):
    np.save(tmp_path / "a.npy", ids)
    rows = ['"id",area,class', "300,5,tumor", "3,1, immune cell ", "", "7,2,", "99,2,tumor"]
    text = "\ufeff" + "\r\n".join(row.replace(",", delimiter) for row in rows)
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")

    annotation = read(tmp_path / "a.npy", class_file="{name}.csv")

    assert annotation.classes == ("immune cell", "", "", "tumor")
    assert annotation.counts["without_class"] == 2
    assert annotation.counts["ids_without_nucleus"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nucleus,kind\n1,a\n", "expected a table with the columns id and class.*found the first line 'nucleus,kind'"),
        ("id,class\n3,a\n3,b\n", "row 3 gives id 3 a second time"),
        ("id,class\n3.5,a\n", r"row 2 must have a whole number as id, and a class, found \['3.5', 'a'\]"),
        ("id,class\n-3,a\n", "row 2 must have a whole number"),
        ("id,class\n3\n", "row 2 must have a whole number"),
        ("id,class\n" + "9" * 40 + ",a\n", "row 2 must have a whole number"),
        ("", r"0 bytes"),
        ("id,class\n3,\x00\n4,\udcff\n", "cannot be read|whole number"),
    ],
)
def test_tables_that_say_nothing_certain_are_refused(tmp_path, ids, text, message):
    np.save(tmp_path / "a.npy", ids)
    (tmp_path / "a.csv").write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(ContractError, match=rf"a\.csv: .*{message}"):
        read(tmp_path / "a.npy", class_file="{name}.csv")


def test_classes_come_from_ranges_of_ids(tmp_path, ids):
    np.save(tmp_path / "a.npy", ids)

    annotation = read(tmp_path / "a.npy", value_ranges=(("immune", 300, 400), ("tumor", 1, 7)))

    assert annotation.classes == ("tumor", "tumor", "", "immune")
    assert annotation.counts["without_class"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value_ranges": (("a", 1, 7), ("b", 7, 9))}, "ranges without common ids, found 'a' up to 7 and 'b' from 7"),
        ({"value_ranges": (("a", 9, 7),)}, "first id from 1 up to its last"),
        (
            {"value_ranges": (("a", 1, 7),), "class_file": "{name}.csv"},
            "from class_file or from value_ranges, found both",
        ),
        ({"class_file": "classes.png"}, "the same file for all images"),
        ({"class_file": "{name}.npy"}, "at most 100 classes, found 101 values|label map"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path, options, message):
    ids = np.zeros(SHAPE, np.uint16)
    ids[::2, ::2] = np.arange(1, 601).reshape(20, 30)
    np.save(tmp_path / "a.npy", ids)

    with pytest.raises(ContractError, match=message):
        read(tmp_path / "a.npy", **options)


def test_a_missing_file_of_classes_is_named_with_the_pattern(tmp_path, ids):
    np.save(tmp_path / "a.npy", ids)

    with pytest.raises(
        MissingInputError, match=r"a_class\.png: the file does not exist; class_file '\{name\}_class\.png'"
    ):
        read(tmp_path / "a.npy", class_file="{name}_class.png")


def test_regions_that_are_not_annotated_come_from_a_mask_and_their_nuclei_are_left_out(tmp_path, ids):
    np.save(tmp_path / "a.npy", ids)
    region = np.zeros(SHAPE, np.uint8)
    region[8:20, 8:22] = 255  # all of nucleus 7, and two columns of nucleus 3
    save_png(tmp_path / "a_vague.png", region)

    annotation = read(tmp_path / "a.npy", not_annotated_file="{name}_vague.png")

    np.testing.assert_array_equal(annotation.instances, np.searchsorted([3, 12, 300], ids, side="right") * (ids != 7))
    np.testing.assert_array_equal(annotation.annotated, (region == 0) | (ids == 3))
    assert annotation.counts["not_annotated"] == 1


def test_an_image_without_nuclei_is_a_map_of_zeros(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(SHAPE, np.uint8))

    annotation = read(tmp_path / "a.npy")

    assert annotation.classes == ()
    assert annotation.counts == {}


def test_an_empty_image_may_have_regions_that_are_not_annotated(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(SHAPE, np.uint8))
    np.save(tmp_path / "a_vague.npy", np.eye(40, 60, dtype=np.uint8))

    annotation = read(tmp_path / "a.npy", not_annotated_file="{name}_vague.npy")

    np.testing.assert_array_equal(annotation.annotated, ~np.eye(40, 60, dtype=bool))
    assert (annotation.classes, annotation.counts) == ((), {})


def blobs(values):
    """Squares of 16 px, one for each of the values, that do not touch."""
    array = np.zeros(SHAPE, np.int64)
    for index, value in enumerate(values):
        row, column = divmod(index, 9)
        array[2 + 6 * row : 6 + 6 * row, 2 + 6 * column : 6 + 6 * column] = value
    return array


@pytest.mark.parametrize(
    ("array", "message"),
    [
        pytest.param(blobs([255] * 20).astype(np.uint8), "a binary mask in place of instances: 1 id with 20 separate parts", id="binary"),
        pytest.param(blobs([1, 1]).astype(bool), "a binary mask in place of instances: 1 id with 2 separate parts", id="bool"),
        pytest.param(blobs([1, 2, 5] * 6), "a map of classes in place of instances: 3 ids with 18 separate parts", id="classes"),
        pytest.param(np.zeros((*SHAPE, 3), np.uint8), r"found a colour picture \(40, 60, 3\)", id="colour"),
        pytest.param(np.zeros((2, *SHAPE), np.uint8), r"found shape \(2, 40, 60\)", id="stack"),
        pytest.param(np.zeros((60, 40), np.uint8), r"shape of its image \(40, 60\).*found \(60, 40\)\. Height and width are exchanged", id="swapped"),
        pytest.param(np.zeros((20, 30), np.uint8), r"shape of its image \(40, 60\).*found \(20, 30\)", id="other_shape"),
        pytest.param(blobs([1, -2]), "found -2 at row 2, column 8, and 15 more", id="negative"),
        pytest.param(blobs([1, 2]).astype(np.float32), "found float32", id="float"),
        pytest.param(blobs([1, 2]) * 0.5, "found float64", id="fraction"),
        pytest.param(blobs([1]).astype(np.uint64) << 60, r"found 1152921504606846976", id="too_large"),
        pytest.param(blobs([1]).astype(np.complex64), "found complex64", id="complex"),
        pytest.param(np.full(SHAPE, "a"), "found <U1", id="text"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_label_map_of_the_image_are_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)

    with pytest.raises(ContractError, match=rf"a\.npy: .*{message}.* Fix"):
        read(tmp_path / "a.npy")


def test_one_nucleus_with_traces_of_drawing_is_no_binary_mask(tmp_path):
    array = blobs([1])
    array[30, 30] = array[35, 40] = 1
    np.save(tmp_path / "a.npy", array)

    assert read(tmp_path / "a.npy").counts == {"several_parts": 1}


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        pytest.param("a.png", lambda p, a: Image.fromarray(np.dstack([a] * 3).astype(np.uint8)).save(p), r"colour picture \(RGB\)", id="rgb_png"),
        pytest.param("a.tif", lambda p, a: tifffile.imwrite(p, np.dstack([a] * 3).astype(np.uint8), photometric="rgb"), "colour picture", id="rgb_tiff"),
        pytest.param("a.jpg", lambda p, a: Image.fromarray(a.astype(np.uint8)).save(p), "JPEG changes the values", id="jpeg"),
        pytest.param("a.tif", lambda p, a: tifffile.imwrite(p, a.astype(np.uint8), compression="jpeg"), "lossless compression", id="jpeg_tiff"),
        pytest.param("a.tif", lambda p, a: tifffile.imwrite(p, a.astype(np.uint8), photometric="miniswhite"), "found MINISWHITE", id="inverted"),
        pytest.param("a.tif", lambda p, a: tifffile.imwrite(p, np.stack([a, a]).astype(np.uint8), photometric="minisblack", metadata=None), "with one map, found 2 images", id="stack"),
        pytest.param("a.tif", lambda p, a: tifffile.imwrite(p, a.astype(np.float32)), "found float32", id="float"),
        pytest.param("a.npy", lambda p, a: np.save(p, {"masks": a}), "found Python objects", id="pickle"),
        pytest.param("a.npy", lambda p, _: p.write_bytes(b"PK\x03\x04" + bytes(100)), r"expected a map of whole numbers", id="npz"),
        pytest.param("a.png", lambda p, _: p.write_bytes(b"<html>"), "starts with b'<html>'", id="web_page"),
    ],
)  # fmt: skip
def test_files_that_are_no_map_are_refused(tmp_path, ids, name, write, message):
    write(tmp_path / name, ids)

    with pytest.raises(ContractError, match=rf"{name}: .*{message}.* Fix"):
        read(tmp_path / name)


def test_grey_values_of_four_bits_are_not_stretched(tmp_path, instances):
    rows = instances.astype(np.uint8)
    packed = (rows[:, ::2] << 4) | rows[:, 1::2]
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed))

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60, 40, 4, 0, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )

    np.testing.assert_array_equal(read(tmp_path / "a.png").instances, instances)


def test_a_place_inside_the_file_is_refused(tmp_path, ids):
    np.save(tmp_path / "a.npy", ids)

    for place in (Place(member="1"), Place(offset=(5.0, 0.0))):
        with pytest.raises(ContractError, match="whole file to belong to one image"):
            read_annotation(tmp_path / "a.npy", SHAPE, "label-map", place=place)
