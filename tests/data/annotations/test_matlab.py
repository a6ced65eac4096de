import io

import h5py
import numpy as np
import pytest
import scipy.io

from cellvit.data.annotations.read import read_annotation
from cellvit.errors import ContractError

SHAPE = (40, 60)


def save_5(path, variables, **options):
    scipy.io.savemat(path, variables, **options)


def save_7_3(path, variables):
    """As MATLAB writes it: a header of 512 bytes before HDF5, and axes in the opposite order."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in variables.items():
            file[name] = np.atleast_2d(array).T
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM")


def read(path):
    return read_annotation(path, SHAPE, "matlab")


every_version = pytest.mark.parametrize(
    "save",
    [
        pytest.param(save_5, id="5"),
        pytest.param(lambda path, variables: save_5(path, variables, do_compression=True), id="5_compressed"),
        pytest.param(save_7_3, id="7.3"),
    ],
)


@every_version
@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.uint16])
def test_instance_maps_of_all_versions_and_types_are_read(tmp_path, ids, instances, save, dtype):
    save(tmp_path / "a.mat", {"inst_map": ids.astype(dtype), "other": np.ones((3, 2))})

    annotation = read(tmp_path / "a.mat")

    np.testing.assert_array_equal(annotation.instances, instances)
    assert annotation.classes == ("",) * 4


@every_version
def test_classes_of_hovernet_are_in_the_order_of_the_ids(tmp_path, ids, save):
    type_map = np.select([ids == 3, ids == 7, ids == 12, ids == 300], [4, 1, 2, 2])
    types = np.array([[4.0], [1], [2], [3]])
    save(tmp_path / "a.mat", {"inst_map": ids.astype(float), "inst_type": types, "type_map": type_map})

    annotation = read(tmp_path / "a.mat")

    assert annotation.classes == ("4", "1", "2", "3")
    assert annotation.counts["class_contradictions"] == 1


@every_version
def test_classes_of_lizard_are_found_by_id(tmp_path, ids, save):
    variables = {
        "inst_map": ids.astype(float),
        "id": np.array([[300], [7], [99], [3]]),
        "class": np.array([[6], [1], [2], [0]]),
    }
    save(tmp_path / "a.mat", variables)

    annotation = read(tmp_path / "a.mat")

    assert annotation.classes == ("", "1", "", "6")
    assert annotation.counts["without_class"] == 2
    assert annotation.counts["ids_without_nucleus"] == 1


@every_version
def test_without_a_list_classes_are_those_of_most_pixels(tmp_path, ids, save):
    save(tmp_path / "a.mat", {"inst_map": ids, "type_map": np.select([ids == 3, ids > 0], [4, 1])})

    assert read(tmp_path / "a.mat").classes == ("4", "1", "1", "1")


def test_files_of_big_endian_machines_are_read(tmp_path):
    """The smallest file by hand: inst_map, 2 x 2, int8 in small elements."""
    words = (
        np.array([6, 8, 8, 0, 5, 8, 2, 2, 1, 8], ">u4").tobytes() + b"inst_map" + b"\0\x04\0\x01" + bytes([0, 1, 0, 1])
    )
    element = np.array([14, len(words)], ">u4").tobytes() + words
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI"
    (tmp_path / "a.mat").write_bytes(header + element)

    annotation = read_annotation(tmp_path / "a.mat", (2, 2), "matlab")

    np.testing.assert_array_equal(annotation.instances, [[0, 0], [1, 1]])


@every_version
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"inst_centroid": np.ones((2, 2))}, "expected the variable inst_map, .* found inst_centroid"),
        ({"inst_map": np.ones((60, 40))}, "Height and width are exchanged"),
        ({"inst_map": np.full(SHAPE, 0.5)}, r"whole numbers from 0, found 0\.5"),
        ({"inst_map": np.full(SHAPE, np.nan)}, "found nan"),
        ({"inst_map": np.eye(40, 60), "inst_type": np.ones((3, 1))}, "each of the 1 nuclei of inst_map, found 3"),
        ({"inst_map": np.eye(40, 60), "id": np.ones((2, 1)), "class": np.ones((2, 1))}, "of which 1 are different"),
        ({"inst_map": np.eye(40, 60), "inst_type": np.array([[1.5]])}, r"inst_type must hold whole numbers from 0, found 1\.5"),
    ],
)  # fmt: skip
def test_contents_that_do_not_fit_are_refused(tmp_path, save, variables, message):
    save(tmp_path / "a.mat", variables)

    with pytest.raises(ContractError, match=rf"a\.mat: .*{message}"):
        read(tmp_path / "a.mat")


def test_other_variables_than_numbers_make_no_difference(tmp_path, ids, instances):
    others = {"text": "abc", "cell": np.array([ids, "x"], object), "struct": {"a": 1, "b": [1, 2]}, "complex": ids * 1j}
    save_5(tmp_path / "a.mat", others | {"inst_map": ids}, do_compression=True)

    np.testing.assert_array_equal(read(tmp_path / "a.mat").instances, instances)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>", "expected a MATLAB file .* starts with b'<!DOCTYPE html><'"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5 that MATLAB did not write"),
        (b"MATLAB 5.0 MAT-file".ljust(200), "no mark of the byte order"),
        (b"MATLAB 7.3 MAT-file".ljust(700), "cannot be read"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / "a.mat").write_bytes(content)

    with pytest.raises(ContractError, match=rf"a\.mat: .*{message}.*Fix"):
        read(tmp_path / "a.mat")


@every_version
def test_truncated_files_are_refused(tmp_path, ids, save):
    save(tmp_path / "a.mat", {"inst_map": ids.astype(float)})
    content = (tmp_path / "a.mat").read_bytes()

    for n in range(1, len(content) - 9, len(content) // 11):
        (tmp_path / "a.mat").write_bytes(content[:n])

        with pytest.raises(ContractError, match=r"a\.mat: .*Fix"):
            read(tmp_path / "a.mat")


@every_version
def test_damaged_files_give_nuclei_or_our_error_and_nothing_else(tmp_path, ids, save):
    save(tmp_path / "a.mat", {"inst_map": ids, "inst_type": np.ones((4, 1)), "other": np.eye(3)})
    content, rng = (tmp_path / "a.mat").read_bytes(), np.random.default_rng(0)

    n_refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        for place in rng.integers(0, min(len(content), 4000), 3):
            damaged[place] = rng.integers(256)
        (tmp_path / "a.mat").write_bytes(damaged)
        try:
            read(tmp_path / "a.mat")
        except ContractError:
            n_refused += 1

    assert n_refused


def test_sizes_that_no_file_can_have_are_refused_without_memory(tmp_path):
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"inst_map": np.ones((2, 2))})
    content = bytearray(buffer.getvalue())
    place = content.index(np.array([2, 2], "<i4").tobytes())
    content[place : place + 8] = np.array([2**31 - 1, 2**31 - 1], "<i4").tobytes()
    (tmp_path / "a.mat").write_bytes(content)

    with pytest.raises(ContractError, match=r"inst_map of shape \(2147483647, 2147483647\) has"):
        read(tmp_path / "a.mat")
