"""A pipe, a socket, a device, a folder or a dead link under the name of a file is refused at once, by name, by every reader."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cellvit.config.prediction import PredictionSettings
from cellvit.data.annotations.bounded import read_json
from cellvit.data.opening import check_file
from cellvit.data.pannuke import fold_files, read_names, read_types
from cellvit.data.slides.listing import images_of
from cellvit.errors import CellvitError
from cellvit.models.weights import weights_file
from cellvit.models.weights_file import described_weights, read_weights
from cellvit.prediction.request import Request, request_key

PLACES: dict[str, Callable[[Path], None]] = {
    "a pipe, a socket or a device": os.mkfifo,
    "a folder": Path.mkdir,
    "a link that leads to no file": lambda path: path.symlink_to("removed"),
}


def read_patients(path: Path) -> object:
    return read_names(fold_files(path.parents[3], 1), "patients", 1)


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "patients": ("Fold 1/images/fold1/patients.npy", read_patients),
    "sources": (
        "Fold 1/images/fold1/sources.npy",
        lambda path: read_names(fold_files(path.parents[3], 1), "sources", 1),
    ),
    "images": ("Fold 1/images/fold1/images.npy", lambda path: read_types(fold_files(path.parents[3], 1))),
    "weights": ("a.safetensors", described_weights),
    "pickled weights": ("a.pth", read_weights),
    "weights in a folder": ("hub/model.safetensors", lambda path: read_weights(weights_file(path.parent))),
    "regions": ("a.geojson", read_json),
    "image or annotation": ("a.png", lambda path: check_file(path, "an image")),
}


@pytest.mark.parametrize("found", PLACES)
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_refused_by_what_it_is(tmp_path: Path, name: str, found: str) -> None:
    file, read = READERS[name]
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    PLACES[found](path)

    with pytest.raises(CellvitError, match=rf"{path.name}(.|\n)*found {found}(.|\n)*Fix:"):
        read(path)


def test_a_pipe_is_no_table_of_images(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "slides.csv")

    with pytest.raises(CellvitError, match=r"slides\.csv: expected a CSV table, found a pipe.*Fix:"):
        images_of([tmp_path / "slides.csv"])


@pytest.mark.parametrize("name", ["image", "regions"])
def test_a_pipe_is_neither_an_image_to_predict_nor_its_regions(tmp_path: Path, name: str) -> None:
    (tmp_path / "image").touch()
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    regions = tmp_path / "regions" if name == "regions" else None
    request = Request(path=tmp_path / "image", name="a", settings=PredictionSettings(), regions=regions)

    with pytest.raises(CellvitError, match=f"{name}: expected a file, found a pipe, a socket or a device. Fix:"):
        request_key(request, ())
