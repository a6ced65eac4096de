"""Random nuclei, written in each format of arrays, are read back as they were."""

import numpy as np
import pytest
import scipy.io
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.draw import ellipse

from cellvit.data.annotations.options import Kind, Options, Place
from cellvit.data.annotations.read import kind_of, read_annotation


@st.composite
def annotated_images(draw):
    """Instances 1..n of an image, and the class of each; nuclei touch, cover others in part, and are cut by the border."""
    shape = draw(st.tuples(st.integers(16, 60), st.integers(16, 60)))
    painted = np.zeros(shape, np.int32)
    for number in range(1, draw(st.integers(0, 8)) + 1):
        centre = draw(st.tuples(st.integers(0, shape[0] - 1), st.integers(0, shape[1] - 1)))
        radii = draw(st.tuples(st.integers(2, 9), st.integers(2, 9)))
        painted[ellipse(*centre, *radii, shape=shape)] = number
    present = np.unique(painted[painted > 0])
    # A nucleus that others split in two, alone in the image, would be a binary mask.
    if len(present) < 2:
        painted[:] = 0
        painted[ellipse(8, 8, 5, 6, shape=shape)] = 1
        present = np.array([1])
    instances = np.searchsorted(present, painted, side="right").astype(np.int32)
    classes = draw(st.lists(st.integers(1, 5), min_size=len(present), max_size=len(present)))
    return instances, np.array(classes)


def class_map(instances, classes):
    return np.concatenate([[0], classes])[instances]


def write_label_map(folder, instances, classes, write, suffix):
    write(folder / f"a.{suffix}", instances.astype(np.uint16))
    np.save(folder / "a_class.npy", class_map(instances, classes))
    return folder / f"a.{suffix}"


def write_table(folder, instances, classes):
    np.save(folder / "a.npy", instances)
    rows = [f"{number},{name}\n" for number, name in enumerate(classes, start=1)]
    (folder / "a.csv").write_text("id,class\n" + "".join(rows))
    return folder / "a.npy"


def write_masks(folder, instances, classes):
    path = folder / "masks"
    path.mkdir(exist_ok=True)
    for file in path.iterdir():
        file.unlink()
    for number in range(1, len(classes) + 1):
        Image.fromarray((instances == number).astype(np.uint8) * 255).save(path / f"{number:02}.png")
    return path


def write_matlab(folder, instances, classes):
    variables = {"inst_map": instances.astype(float), "type_map": class_map(instances, classes).astype(float)}
    scipy.io.savemat(folder / "a.mat", variables, do_compression=len(classes) % 2 == 0)
    return folder / "a.mat"


def write_lizard(folder, instances, classes):
    order = np.arange(len(classes))[::-1]
    variables = {"inst_map": instances, "id": (order + 1)[:, None], "class": classes[order][:, None]}
    scipy.io.savemat(folder / "a.mat", variables)
    return folder / "a.mat"


def write_cellpose(folder, instances, classes):
    np.save(folder / "a_seg.npy", {"masks": instances.astype(np.uint16), "flows": []})
    return folder / "a_seg.npy"


def write_cellvit(folder, instances, classes):
    np.save(folder / "a.npy", {"inst_map": instances, "type_map": class_map(instances, classes)})
    return folder / "a.npy"


def write_pannuke(folder, instances, classes):
    masks = np.zeros((3, *instances.shape, 6))
    for channel in range(5):
        masks[2, ..., channel] = np.where(class_map(instances, classes) == channel + 1, instances, 0)
    masks[..., 5] = masks[..., :5].sum(axis=-1) == 0
    np.save(folder / "masks.npy", masks)
    return folder / "masks.npy"


def write_conic(folder, instances, classes):
    labels = np.stack([instances, class_map(instances, classes)], axis=-1).astype(np.uint16)
    np.save(folder / "labels.npy", np.stack([labels[::-1], labels[:, ::-1], labels]))
    return folder / "labels.npy"


def png(path, array):
    Image.fromarray(array).save(path)


WRITERS: dict[str, tuple[Kind, object, Options]] = {
    "png": ("label-map", lambda *given: write_label_map(*given, png, "png"), Options(class_file="{name}_class.npy")),
    "tiff": ("label-map", lambda *given: write_label_map(*given, tifffile.imwrite, "tif"), Options(class_file="{name}_class.npy")),
    "table": ("label-map", write_table, Options(class_file="{name}.csv")),
    "masks": ("masks", write_masks, Options()),
    "matlab": ("matlab", write_matlab, Options()),
    "lizard": ("matlab", write_lizard, Options()),
    "cellpose": ("cellpose", write_cellpose, Options()),
    "cellvit": ("cellvit", write_cellvit, Options()),
    "pannuke": ("pannuke", write_pannuke, Options()),
    "conic": ("conic", write_conic, Options()),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=15)
@given(image=annotated_images())
def test_random_nuclei_are_read_back_as_they_were_written(tmp_path_factory, name, image):
    instances, classes = image
    kind, write, options = WRITERS[name]
    path = write(tmp_path_factory.mktemp("round_trip"), instances, classes)
    place = Place(member="2" if kind in ("pannuke", "conic") else "")

    annotation = read_annotation(path, instances.shape, kind, options, place)

    assert kind_of(path) == kind
    expected = [""] * len(classes) if name in ("masks", "cellpose") else [str(number) for number in classes]
    if kind == "pannuke":  # numbered by class, then by id
        order = np.argsort(classes, kind="stable")
        instances = np.concatenate([[0], np.argsort(order) + 1])[instances]
        expected = [expected[index] for index in order]
    np.testing.assert_array_equal(annotation.instances, instances)
    assert list(annotation.classes) == expected
    assert annotation.annotated.all()
