import gzip

import numpy as np
import pytest
import scipy.io
import tifffile
from PIL import Image

from cellvit.data.annotations.read import kind_of, read_annotation
from cellvit.errors import ContractError, MissingInputError


def write_text(text):
    return lambda path: path.write_text(text)


def write_masks(path):
    path.mkdir()
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(path / "1.png")


@pytest.mark.parametrize(
    ("name", "write", "kind"),
    [
        ("a.png", lambda path: Image.fromarray(np.zeros((9, 9), np.uint8)).save(path), "label-map"),
        ("a.TIF", lambda path: tifffile.imwrite(path, np.zeros((9, 9), np.uint16)), "label-map"),
        ("a.npy", lambda path: np.save(path, np.zeros((9, 9), int)), "label-map"),
        ("masks.npy", lambda path: np.save(path, np.zeros((2, 9, 9, 6))), "pannuke"),
        ("labels.npy", lambda path: np.save(path, np.zeros((2, 9, 9, 2), int)), "conic"),
        ("a_seg.npy", lambda path: np.save(path, {"masks": np.zeros((9, 9), int)}), "cellpose"),
        ("b.npy", lambda path: np.save(path, {"inst_map": np.zeros((9, 9), int)}), "cellvit"),
        ("a.mat", lambda path: scipy.io.savemat(path, {"inst_map": np.eye(9)}), "matlab"),
        ("masks", write_masks, "masks"),
        ("a.geojson", write_text('{"type": "FeatureCollection", "features": []}'), "geojson"),
        ("a.json", write_text('[{"type": "Feature"}]'), "geojson"),
        ("a.json.gz", lambda path: path.write_bytes(gzip.compress(b'[{"type": "Feature"}]')), "geojson"),
        ("b.json", write_text('{"images": [], "annotations": []}'), "coco"),
        ("a.xml", write_text("<Annotations MicronsPerPixel='0.25'/>"), "imagescope"),
        ("a.zip", write_text("PK"), "imagej"),
        ("a.roi", write_text("Iout"), "imagej"),
    ],
)
def test_the_kind_is_told_from_suffix_and_content(tmp_path, name, write, kind):
    write(tmp_path / name)

    assert kind_of(tmp_path / name) == kind


def write_rois(path):
    path.mkdir()
    (path / "1.roi").write_bytes(b"Iout")


def write_pictures(path):
    path.mkdir()
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(path / "1.png")


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("points.csv", write_text("17,130,1\n95,156,1\n"), "it has 2 points, and points have no outline"),
        ("classes.csv", write_text("id,class\n1,a\n"), "name it in class_file"),
        ("a.xml", write_text("<ASAP_Annotations/>"), "XML of ASAP"),
        ("b.xml", write_text("<html/>"), "not an XML file of ImageScope"),
        ("a.json", write_text("{}"), "neither the features of GeoJSON nor the annotations of COCO"),
        ("a.json.gz", write_text("not compressed"), "cannot be read"),
        ("a.svg", write_text("<svg/>"), "suffix is that of no format"),
        ("a.npy", lambda path: np.save(path, np.zeros((9, 9, 3))), r"array of the shape \(9, 9, 3\)"),
        ("b.npy", lambda path: np.save(path, {"a": 1}), "its dictionary has a, neither masks nor inst_map"),
        ("c.npy", write_text("<html>"), "starts with b'<html>'"),
        ("a.png", lambda path: Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(path), "a colour picture"),
        ("a.tif", lambda path: tifffile.imwrite(path, np.zeros((9, 9, 3), np.uint8), photometric="rgb"), "a colour picture"),
        ("b.tif", write_text("<html>"), "cannot be read"),
        ("rois", write_rois, r"pack them into one \.zip"),
        ("pictures", write_pictures, "a folder with colour pictures"),
        ("empty.geojson", write_text(""), "0 bytes"),
    ],
)  # fmt: skip
def test_other_files_are_refused_with_the_formats_that_can_be_read(tmp_path, name, write, message):
    write(tmp_path / name)

    with pytest.raises(ContractError, match=rf"{name}.*: .*{message}.*"):
        kind_of(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    for read in (kind_of, lambda path: read_annotation(path, (9, 9), "matlab")):
        with pytest.raises(MissingInputError, match=r"a\.mat: the (file|annotation) does not exist"):
            read(tmp_path / "a.mat")
