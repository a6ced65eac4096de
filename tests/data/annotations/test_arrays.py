import os
import pickle

import numpy as np
import pytest

from cellvit.data.annotations.options import Place
from cellvit.data.annotations.read import read_annotation
from cellvit.errors import ContractError
from cellvit.hover.relabel import paint_channels

SHAPE = (40, 60)


def read(path, kind, member="", shape=SHAPE):
    return read_annotation(path, shape, kind, place=Place(member=member))


def save_dictionary(path, values, protocol=4):
    """As numpy.save does it, with any protocol of pickle."""
    np.save(path, np.array({}, object), allow_pickle=True)
    header = path.read_bytes().partition(b"\n")[0] + b"\n"
    path.write_bytes(header + pickle.dumps(np.array(values, object), protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_cellpose_files_give_their_masks(tmp_path, ids, instances, protocol):
    values = {
        "masks": ids.astype(np.uint16),
        "outlines": np.asfortranarray(ids.astype(np.uint16))[:, ::2],
        "filename": "/data/a.png",
        "flows": [np.zeros((2, 3), np.uint8), [None, 0.5]],
        "ismanual": np.zeros(4, bool),
        "diameter": np.float64(17.5),
        "chan_choose": (0, 0),
    }

    annotation = read(save_dictionary(tmp_path / "a_seg.npy", values, protocol), "cellpose")

    np.testing.assert_array_equal(annotation.instances, instances)


def test_cellvit_files_give_their_maps(tmp_path, ids, instances):
    np.save(tmp_path / "a.npy", {"inst_map": ids, "type_map": np.select([ids == 3, ids > 0], [4, 1])})

    annotation = read(tmp_path / "a.npy", "cellvit")

    np.testing.assert_array_equal(annotation.instances, instances)
    assert annotation.classes == ("4", "1", "1", "1")


class _Harmful:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "harmful",
    [
        _Harmful(os.mkdir, "made_by_a_pickle"),
        _Harmful(eval, "1 + 1"),
        _Harmful(np.load, "x.npy"),
        _Harmful(getattr, "text", "upper"),
        _Harmful(np.frombuffer, b"abc"),
    ],
)
def test_pickled_files_run_nothing(tmp_path, monkeypatch, ids, harmful):
    monkeypatch.chdir(tmp_path)
    path = save_dictionary(tmp_path / "a_seg.npy", {"masks": ids, "x": harmful})

    with pytest.raises(ContractError, match=r"a_seg\.npy: .*pickled files can run programs.*Fix"):
        read(path, "cellpose")

    assert [file.name for file in tmp_path.iterdir()] == ["a_seg.npy"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"flows": 1}, "the array 'masks' in the dictionary, found flows"),
        ({"masks": [1, 2]}, "the array 'masks'"),
        ({"masks": np.zeros((3, *SHAPE), int)}, r"found shape \(3, 40, 60\)"),
        ({"masks": np.zeros(SHAPE, object)}, "found object"),
        ([1, 2], "found (list|ndarray)"),
        ({"masks": np.zeros(SHAPE)}, "found float64"),
    ],
)
def test_dictionaries_that_do_not_fit_are_refused(tmp_path, values, message):
    with pytest.raises(ContractError, match=rf"a_seg\.npy: .*{message}"):
        read(save_dictionary(tmp_path / "a_seg.npy", values), "cellpose")


def test_a_number_of_the_memo_beyond_the_file_does_not_take_memory(tmp_path):
    path = save_dictionary(tmp_path / "a_seg.npy", {})
    header = path.read_bytes().partition(b"\n")[0] + b"\n"
    path.write_bytes(header + b"\x80\x02Nr\xff\xff\xff\xff.")

    with pytest.raises(ContractError, match="damaged"):
        read(path, "cellpose")


def test_damaged_pickles_give_our_error_and_nothing_else(tmp_path, ids):
    path = save_dictionary(tmp_path / "a_seg.npy", {"masks": ids.astype(np.uint16), "flows": [np.ones(3), "a", 5]})
    content, rng = path.read_bytes(), np.random.default_rng(0)
    places = [place for place in range(len(content)) if place < 500 or place > len(content) - 300]

    n_refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        damaged[rng.choice(places)] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read(path, "cellpose")
        except ContractError:
            n_refused += 1

    assert n_refused


def pannuke_masks(ids):
    masks = np.zeros((2, *SHAPE, 6))
    masks[1, ..., 0] = np.where(ids == 7, 7, 0)
    masks[1, ..., 2] = np.where((ids == 3) | (ids == 12), ids, 0)
    masks[1, 14:18, 18:24, 2] = 7  # the same id in another channel, over two nuclei
    masks[1, 12:14, 12:14, 0] = 0
    masks[1, 12:14, 12:14, 4] = 1
    masks[1, 30:34, 30:34, 1] = masks[1, 30:34, 30:34, 3] = 9  # covered by the later channel
    masks[..., 5] = masks[..., :5].sum(axis=-1) == 0
    return masks


def test_pannuke_masks_give_the_nuclei_of_the_official_layout(tmp_path, ids):
    masks = pannuke_masks(ids)
    np.save(tmp_path / "masks.npy", masks)

    annotation = read(tmp_path / "masks.npy", "pannuke", "1")

    painted = paint_channels(masks[1, ..., :5])
    np.testing.assert_array_equal(annotation.instances, painted.instances)
    class_map = np.array(["0", *annotation.classes])[annotation.instances].astype(int)
    np.testing.assert_array_equal(class_map, painted.classes)
    assert annotation.counts["px_in_several"] == painted.overlap_px
    assert annotation.counts["covered"] == painted.n_lost == 1


def test_a_row_of_pannuke_without_nuclei_is_an_empty_image(tmp_path, ids):
    np.save(tmp_path / "masks.npy", pannuke_masks(ids))

    annotation = read(tmp_path / "masks.npy", "pannuke", "0")

    assert (annotation.classes, annotation.counts) == ((), {})


def test_pixels_of_the_background_that_contradict_the_nuclei_are_counted(tmp_path, ids):
    masks = pannuke_masks(ids)
    masks[1, 0, :5, 5] = 0
    np.save(tmp_path / "masks.npy", masks)

    assert read(tmp_path / "masks.npy", "pannuke", "1").counts["background_contradictions"] == 5


def test_conic_labels_give_ids_and_classes(tmp_path, ids, instances):
    labels = np.stack([ids, np.select([ids == 300, ids > 0], [6, 2])], axis=-1).astype(np.uint16)
    np.save(tmp_path / "labels.npy", np.stack([labels * 0, labels]))

    annotation = read(tmp_path / "labels.npy", "conic", "1")

    np.testing.assert_array_equal(annotation.instances, instances)
    assert annotation.classes == ("2", "2", "2", "6")


@pytest.mark.parametrize(
    ("kind", "array", "member", "message"),
    [
        ("pannuke", np.zeros((2, *SHAPE, 6)), "2", "expected a row from 0 to 1 of the array as member, found '2'"),
        ("pannuke", np.zeros((2, *SHAPE, 6)), "", "expected a row from 0 to 1"),
        ("pannuke", np.zeros((2, *SHAPE, 6)), "-1", "expected a row from 0 to 1"),
        ("pannuke", np.full((1, *SHAPE, 6), 2.0), "0", "channel 5 must be the background, 0 or 1, found 2"),
        ("pannuke", np.full((1, *SHAPE, 6), 0.5), "0", r"found 0\.5 at row 0, column 0"),
        ("pannuke", np.zeros((1, *SHAPE, 1)), "0", "found 1 channel in a row"),
        ("pannuke", np.zeros(SHAPE), "0", r"found shape \(40, 60\)"),
        ("pannuke", np.zeros((1, 60, 40, 6)), "0", "Height and width are exchanged"),
        ("conic", np.zeros((1, *SHAPE, 6)), "0", "found 6 channels"),
    ],
)
def test_arrays_of_another_layout_are_refused(tmp_path, kind, array, member, message):
    np.save(tmp_path / "a.npy", array)

    with pytest.raises(ContractError, match=rf"a\.npy: .*{message}"):
        read(tmp_path / "a.npy", kind, member)


def test_arrays_of_another_size_than_their_header_says_are_refused(tmp_path, ids):
    path = tmp_path / "a.npy"
    np.save(path, ids)
    content = path.read_bytes()
    huge = content.replace(b"(40, 60)", b"(40, 10000000000000)"[:20].ljust(20)).replace(b" " * 12 + b"\n", b"\n", 1)

    for damaged, message in (
        (content[:-1], "the file is truncated"),
        (content + bytes(9), "followed by other data"),
        (huge, "truncated|cannot be read"),
        (content.replace(b"NUMPY\x01", b"NUMPY\x09"), "cannot be read|version"),
        (content[:20], "cannot be read"),
    ):
        path.write_bytes(damaged)

        with pytest.raises(ContractError, match=rf"a\.npy: .*({message}).*Fix"):
            read(path, "label-map")
