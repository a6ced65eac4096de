import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as pycoco

from cellvit.data.annotations.annotation import Annotation
from cellvit.data.annotations.coco import read_coco
from cellvit.data.annotations.options import Options, Place
from cellvit.data.annotations.rle import RunLengthError, mask_of
from cellvit.errors import ContractError

SHAPE = (6, 8)
SQUARE = [2, 1, 5, 1, 5, 4, 2, 4]


def annotation(segmentation, image=1, category=7, **more):
    return {"id": 1, "image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": 0, **more}


def data_set(*annotations, files=("a.png",), size=SHAPE):
    images = [
        {"id": at, "file_name": name, "height": size[0], "width": size[1]} for at, name in enumerate(files, start=1)
    ]
    return {"images": images, "annotations": list(annotations), "categories": [{"id": 7, "name": "Tumor"}]}


def runs(mask, *, compressed):
    if compressed:
        encoded = pycoco.encode(np.asfortranarray(mask, np.uint8))
        return {"size": encoded["size"], "counts": encoded["counts"].decode()}
    flat = np.asarray(mask, bool).reshape(-1, order="F")
    ends = np.flatnonzero(np.diff(np.concatenate([[False], flat]).astype(int)))
    return {"size": list(mask.shape), "counts": np.diff([0, *ends.tolist(), flat.size]).tolist()}


def square_mask():
    mask = np.zeros(SHAPE, bool)
    mask[1:4, 2:5] = True
    return mask


def read(path: Path, document: object, place: Place | None = None, **options: object) -> Annotation:
    path.write_text(json.dumps(document), encoding="utf-8")
    return read_coco(path, SHAPE, Options(**options), place or Place())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "all.json"


@pytest.mark.parametrize(
    "segmentation",
    [
        pytest.param([SQUARE], id="polygon"),
        pytest.param(runs(square_mask(), compressed=True), id="compressed runs"),
        pytest.param(runs(square_mask(), compressed=False), id="runs"),
    ],
)
def test_polygons_and_runs_give_the_same_pixels(path, segmentation):
    found = read(path, data_set(annotation(segmentation)))

    assert (found.instances == 1).tolist() == square_mask().tolist()
    assert found.classes == ("Tumor",)
    assert found.counts == {}


@settings(max_examples=100)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32), st.booleans())
def test_runs_are_decoded_as_pycocotools_does_it(height, width, seed, compressed):
    mask = np.random.default_rng(seed).random((height, width)) < 0.4

    columns, first, size = mask_of(runs(mask, compressed=compressed))

    whole = np.zeros(size, bool)
    whole[:, first : first + columns.shape[1]] = columns
    assert whole.tolist() == mask.tolist()


def test_runs_are_moved_by_the_offset_of_the_image(path):
    large = np.zeros((60, 80), bool)
    large[21:24, 32:35] = True
    document = data_set(annotation(runs(large, compressed=True)), size=large.shape)

    found = read(path, document, Place(offset=(30.0, 20.0)))

    assert (found.instances == 1).tolist() == square_mask().tolist()


def test_the_image_is_chosen_by_its_name(path):
    document = data_set(annotation([SQUARE]), annotation([SQUARE], image=2), files=("a.png", "b.png", "c.png"))

    assert len(read(path, document, Place(member="b.png")).classes) == 1
    assert read(path, document, Place(member="c.png")).classes == ()
    for member, hint in (("", ""), ("a.jpg", " Did you mean a.png[?]")):
        with pytest.raises(
            ContractError, match=rf"one of its 3 images .* found '{member}'.*a.png, b.png, c.png.{hint}"
        ):
            read(path, document, Place(member=member))


def test_an_image_of_another_size_is_refused(path):
    with pytest.raises(ContractError, match="has 16 x 12 px, but the image beside it has 8 x 6 px"):
        read(path, data_set(annotation([SQUARE]), size=(12, 16)))


def test_crowds_are_not_annotated_and_boxes_without_an_outline_are_left_out(path):
    crowd = annotation(runs(square_mask(), compressed=False), iscrowd=1)

    found = read(path, data_set(crowd, annotation([]), annotation(None)))

    assert found.classes == ()
    assert (~found.annotated).tolist() == square_mask().tolist()
    assert found.counts == {"regions_not_annotated": 1, "without_outline": 2}


def test_polygons_without_an_area_and_empty_masks_are_left_out(path):
    flat, empty = [1, 1, 5, 1, 1, 1], runs(np.zeros(SHAPE, bool), compressed=True)

    assert read(path, data_set(annotation([flat]), annotation(empty))).counts == {"degenerate": 1, "too_small": 1}


def test_results_have_scores(path):
    mask = runs(square_mask(), compressed=True)
    results = [
        {"image_id": 3, "category_id": 0, "segmentation": mask, "score": 0.4},
        {"image_id": 3, "category_id": 1, "segmentation": [[0, 0, 1, 0, 1, 1, 0, 1]], "score": 0.9},
    ]

    assert read(path, results).classes == ("0", "1")
    good = read(path, results, min_score=0.5)
    assert good.classes == ("1",)
    assert good.counts == {"low_score": 1}
    assert read(path, []).classes == ()
    with pytest.raises(ContractError, match="The file has: 3, 4"):
        read(path, [*results, {**results[0], "image_id": 4}])


def test_predictions_of_mmdetection_are_read(path):
    mask = runs(square_mask(), compressed=True)
    found = read(path, {"bboxes": [], "labels": [2, 0], "scores": [0.9, 0.1], "masks": [mask, mask]}, min_score=0.2)

    assert found.classes == ("2",)
    assert found.counts == {"low_score": 1}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param({}, "images, annotations and categories", id="nothing"),
        pytest.param({"images": [], "annotations": [], "categories": []}, "one of its 0 images", id="no image"),
        pytest.param({"images": [3], "annotations": [], "categories": []}, "image 0: expected an id", id="image"),
        pytest.param(data_set(files=("a.png", "a.png")), "file_name of its own", id="two of one name"),
        pytest.param(data_set() | {"categories": [{"id": 7}]}, "category 0: expected an id and a name", id="category"),
        pytest.param(data_set(annotation([SQUARE], category=8)), "category_id of a category", id="unknown category"),
        pytest.param(data_set(3), "annotation 0: expected an image_id", id="annotation"),
        pytest.param(data_set(annotation("text")), "a segmentation of polygons or of runs", id="segmentation"),
        pytest.param(data_set(annotation([[1, 2, 3]])), "polygons as", id="odd"),
        pytest.param(data_set(annotation([["a", 2, 3, 4]])), "expected points", id="text"),
        pytest.param(data_set(annotation([[float("nan"), 2, 3, 4, 5, 6]])), "found nan", id="nan"),
        pytest.param(data_set(annotation([[10**12, 2, 3, 4, 5, 6]])), "found 1e[+]12", id="large"),
        pytest.param(data_set(annotation([SQUARE], score="high")), "a number as score", id="score"),
        pytest.param(data_set(annotation({"size": [6, 8]})), "size .* and counts", id="no counts"),
        pytest.param(data_set(annotation({"size": [10**9, 10**9], "counts": [10**18]})), "size", id="huge"),
        pytest.param(data_set(annotation({"size": [2, 3], "counts": [6]})), "a mask of the image's size", id="size"),
        pytest.param(data_set(annotation({"size": [6, 8], "counts": [47]})), "6 x 8 pixels, found 47", id="short"),
        pytest.param(data_set(annotation({"size": [6, 8], "counts": [-1, 49]})), "whole numbers", id="negative"),
        pytest.param(data_set(annotation({"size": [6, 8], "counts": ["a"]})), "whole numbers", id="text run"),
        pytest.param(data_set(annotation({"size": [6, 8], "counts": "é"})), "ASCII", id="not ascii"),
        pytest.param(data_set(annotation({"size": [6, 8], "counts": "o" * 99})), "too long", id="endless"),
        pytest.param(data_set(annotation({"size": [6, 8], "counts": "o"})), "end within a number", id="cut"),
        pytest.param(data_set(annotation({"size": [6, 8], "counts": " "})), "character", id="character"),
        pytest.param([{"image_id": 1}], "result 0: expected an image_id, a category_id", id="result"),
        pytest.param({"masks": [1], "labels": [], "scores": []}, "lists of 1 entries", id="lengths"),
        pytest.param({"masks": [1], "labels": [None], "scores": [1]}, "label 0: expected a number", id="label"),
        pytest.param({"masks": [1], "labels": [1], "scores": 3}, "lists of 1 entries", id="scores"),
    ],
)
def test_files_that_are_no_annotations_are_refused_by_name(path, document, expected):
    with pytest.raises(ContractError, match=rf"all\.json: .*{expected}"):
        read(path, document)


@settings(max_examples=300)
@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=30))
def test_no_text_of_runs_crashes(counts):
    try:
        columns, _, _ = mask_of({"size": [6, 8], "counts": counts})
    except RunLengthError:
        return
    assert columns.size <= 48
