"""The simulated data set of another kind: outlines on nuclei, a corner that is not annotated, no real data overwritten."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellvit.data.simulate.own import CLASSES, IMAGE_PX, write_own_data
from cellvit.errors import ContractError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own") / "brain"
    write_own_data(root, n_images=3, seed=1)
    return root


def test_every_image_has_outlines_of_its_three_classes_on_its_own_pixels(folder: Path) -> None:
    names = set()

    for path in sorted((folder / "annotations").glob("*.geojson")):
        image = cv2.imread(str(folder / "images" / f"{path.stem}.png"))
        assert image is not None
        assert image.shape == (IMAGE_PX, IMAGE_PX, 3)
        for feature in json.loads(path.read_text())["features"]:
            outline = np.array(feature["geometry"]["coordinates"][0])
            assert (outline[0] == outline[-1]).all()
            assert outline.min() >= -0.5
            assert outline.max() <= IMAGE_PX + 0.5
            names.add(feature["properties"]["classification"]["name"])
    assert names == {*CLASSES, "Ignore*"}


def test_nuclei_inside_their_outlines_are_darker_than_the_image(folder: Path) -> None:
    grey = cv2.imread(str(folder / "images" / "patient02_1.png"), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    features = json.loads((folder / "annotations" / "patient02_1.geojson").read_text())["features"]
    inside = np.zeros_like(grey)

    for feature in features:
        cv2.fillPoly(inside, [np.array(feature["geometry"]["coordinates"][0]).astype(np.int32)], 1)

    assert len(features) > 20
    assert grey[inside > 0].mean() < grey[inside == 0].mean() - 15


def test_equal_seeds_give_equal_files(folder: Path, tmp_path: Path) -> None:
    write_own_data(tmp_path / "again", n_images=3, seed=1)

    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert all((folder / path).read_bytes() == (tmp_path / "again" / path).read_bytes() for path in files)


def test_a_folder_with_files_of_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(b"tissue")

    with pytest.raises(ContractError, match="may be real data"):
        write_own_data(tmp_path, n_images=1, seed=0)
