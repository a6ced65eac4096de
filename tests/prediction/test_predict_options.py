"""Options of `cellvit predict` that change what is analysed, where the models come from, and how the nuclei are written."""

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
from huggingface_hub import constants
from predictions import features_of, results

from cellvit.__main__ import main

WriteDiscs = Callable[..., Path]
Predict = Callable[..., int]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def regions(path: Path, *boxes: tuple[int, int, int, int]) -> Path:
    """Annotations as QuPath exports them."""
    features = [
        {
            "type": "Feature",
            "geometry": shapely.geometry.mapping(shapely.box(*box)),
            "properties": {"objectType": "annotation"},
        }
        for box in boxes
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_nuclei_of_regions_of_a_file_are_those_of_the_whole_image_in_every_format(
    tmp_path: Path, write_discs: WriteDiscs, predict: Predict
) -> None:
    image = write_discs(520, 700)
    drawn = regions(tmp_path / "regions.geojson", (0, 0, 300, 260), (420, 300, 700, 520))

    codes = [
        predict(image, out=tmp_path / "whole"),
        predict(
            image,
            out=tmp_path / "part",
            options=("--regions", str(drawn), "--table", "parquet", "--compress", "--unlike", "shared"),
        ),
    ]

    part = tmp_path / "part" / "discs"
    written = json.loads(gzip.decompress((part / "nuclei.geojson.gz").read_bytes()))["features"]
    table = pd.read_parquet(part / "nuclei.parquet")
    whole = {
        shapely.geometry.shape(nucleus["geometry"]).normalize().wkt for nucleus in features_of(tmp_path / "whole/discs")
    }
    assert codes == [0, 0]
    assert 20 < len(written) == len(table) < len(whole)
    assert {shapely.geometry.shape(nucleus["geometry"]).normalize().wkt for nucleus in written} <= whole
    inside_first = (table["x_px"] < 300) & (table["y_px"] < 260)
    inside_second = (table["x_px"] > 420) & (table["y_px"] > 300)
    assert (inside_first | inside_second).all()
    assert inside_first.any()
    assert inside_second.any()
    assert not (part / "nuclei.csv").exists()


def test_a_bundle_of_the_hub_predicts_as_its_folder_does(
    tmp_path: Path, write_discs: WriteDiscs, predict: Predict, small_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = write_discs(300, 300)
    cached(small_bundle, tmp_path / "hub")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    predict(image, out=tmp_path / "folder")

    common = ("--device", "cpu", "--mpp", "0.25", "--threads", "1", "--out", str(tmp_path / "pulled"))
    code = main(["predict", str(image), "--model", "hf-hub:lab/discs", *common])

    assert code == 0
    assert results(tmp_path / "pulled/discs") == results(tmp_path / "folder/discs")


def cached(bundle: Path, hub: Path) -> None:
    """Lay the bundle out as the cache of the hub does."""
    repository = hub / "models--lab--discs"
    snapshot, blobs = repository / "snapshots" / COMMIT, repository / "blobs"
    for folder in (snapshot, blobs, repository / "refs"):
        folder.mkdir(parents=True)
    for path in bundle.iterdir():
        shutil.copy(path, blobs / path.name)
        (snapshot / path.name).symlink_to(os.path.relpath(blobs / path.name, snapshot))
    (repository / "refs" / "main").write_text(COMMIT)


def test_a_column_of_a_table_of_slides_gives_each_its_own_resolution(
    tmp_path: Path, write_discs: WriteDiscs, predict: Predict
) -> None:
    first, second = write_discs(200, 200, name="first"), write_discs(200, 200, name="second", seed=1)
    pd.DataFrame({"path": [first.name, second.name], "mpp": [0.25, 0.5]}).to_csv(tmp_path / "slides.csv", index=False)

    code = predict(tmp_path / "slides.csv", out=tmp_path / "out")

    runs = [json.loads((tmp_path / "out" / name / "run.json").read_text()) for name in ("first", "second")]
    assert code == 0
    assert np.isclose([run["image"]["mpp"] for run in runs], [0.25, 0.5]).all()
