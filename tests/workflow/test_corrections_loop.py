"""The loop through the real programs: bundle -> predict -> corrected GeoJSON -> data set -> fine-tuning -> comparison."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from workshop import Workshop, make_workshop

from cellvit.data.own_data import read_own_data
from cellvit.data.own_images import read_own_image
from cellvit.data.simulate.slide import simulate_slide, write_slide
from cellvit.formats.checkpoints import read_checkpoint, read_header
from cellvit.hover.relabel import relabel
from cellvit.prediction.outlines import polygons_at, traced
from cellvit.taxonomy import CLASS_NAMES

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

ORGANS = {1: ["Colon", "Colon"], 2: ["Colon", "Colon"], 3: ["Colon"]}
SETTINGS = """\
data: {root: raw}
families: null
splits: {"2": null, "3": null}
encoder: {preset: tiny-vit, weights: random}
decoder: {widths: [16, 12, 8, 8, 8], stem_widths: [4, 8]}
features: {views: [identity]}
training: {steps: 6, record_every: 3, validate_every: 3, batch_size: 2, learning_rate: 1.0e-3}
watershed: {method: [hovernet], np_threshold: [0.5], hv_threshold: [0.4], min_object_px: [10]}
"""
SIZE = {"width": 520, "height": 420}
BOX = (160, 110, 380, 310)
"""Rectangle that the pathologist looked at, in the middle of the tissue."""

NAMES = ("one", "two", "three")


def corrected_by_truth(path: Path, seed: int) -> Path:
    """What a pathologist exports who corrected every nucleus: the ground truth of the simulation, and her rectangle."""
    labels = simulate_slide("Colon", seed, **SIZE).labels
    merged = labels.max(axis=0)
    instances = relabel(merged)
    outlines = traced(instances, int(instances.max()))
    geometries = polygons_at(outlines, outlines.points / 2)
    values, first = np.unique(instances, return_index=True)
    channels = labels.argmax(axis=0).reshape(-1)[first[values > 0]]
    features = [
        _feature(geometry, CLASS_NAMES[1 + channel], "detection")
        for geometry, channel in zip(geometries, channels, strict=True)
    ]
    features.append(_feature(shapely.box(*BOX), "Checked", "annotation"))
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def _feature(geometry: shapely.Geometry, name: str, kind: str) -> dict[str, Any]:
    properties = {"objectType": kind, "classification": {"name": name, "color": [0, 0, 0]}}
    return {"type": "Feature", "geometry": json.loads(shapely.to_geojson(geometry)), "properties": properties}


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Workshop:
    """The workshop after a run with its bundle, and with the corrections of three slides of three patients."""
    workshop = make_workshop(tmp_path_factory.mktemp("loop"), repository, SETTINGS, ORGANS)
    workshop.ran("bundle")
    for seed, name in enumerate(NAMES):
        slide, file = f"{name}.ome.tif", corrected_by_truth(workshop.home / f"{name}.geojson", seed)
        write_slide(workshop.home / slide, "Colon", seed, **SIZE)
        done = workshop.cellvit("corrections", slide, file.name, "--model", "results/bundles/split1", "--out", "mine")
        assert done.returncode == 0, done.stderr
    return workshop


@pytest.fixture(scope="module")
def tuned(loop: Workshop) -> tuple[Workshop, dict[str, str], dict[str, str]]:
    """After a run of the models as they are, and a run that fine-tunes them; with the jobs of both."""
    files = ("--configfile", "small.yaml", "mine/finetune.yaml")
    before = loop.ran(*files, "--config", "results=before", "training={'steps': 0}", results="before")
    short = "training={'steps': 2, 'record_every': 1, 'validate_every': 1}"
    after = loop.ran(*files, "--config", "results=after", short, results="after")
    return loop, before, after


def test_predicted_nuclei_that_nobody_changed_are_the_nuclei_of_the_data_set(loop):
    predicted = loop.cellvit(
        *("predict", "one.ome.tif", "--model", "results/bundles/split1", "--out", "predictions"),
        *("--device", "cpu", "--threads", "1", "--region", "100,60,300,300"),
    )
    assert predicted.returncode == 0, predicted.stderr
    [path] = (loop.home / "predictions").glob("*/nuclei.geojson")
    document = json.loads(path.read_text())
    inside = [
        one
        for one in document["features"]
        if shapely.box(*BOX).intersection(shapely.geometry.shape(one["geometry"])).area > 1
    ]
    document["features"].append(_feature(shapely.box(*BOX), "Checked", "annotation"))
    (loop.home / "unchanged.geojson").write_text(json.dumps(document))

    done = loop.cellvit(
        *("corrections", "one.ome.tif", "unchanged.geojson", "--model", "results/bundles/split1", "--out", "unchanged")
    )

    assert done.returncode == 0, done.stderr
    own = read_own_data(loop.home / "unchanged")
    image = read_own_image(own, own.rows[0])
    assert "simulated" in (path.parent / "report.html").read_text()
    assert image.instances.max() == len(inside)
    for name in CLASS_NAMES[1:]:
        names = [one["properties"]["classification"]["name"] for one in inside]
        assert image.written.get(name, 0) == names.count(name)


def test_a_run_without_steps_measures_the_models_as_they_are(tuned):
    loop, before, _ = tuned
    header, weights = read_checkpoint(loop.home / "before/checkpoints/split1/hovernet_all.safetensors")
    _, start = read_checkpoint(loop.results / "bundles/split1/hovernet_all.safetensors")

    assert before["train_hovernet/split1_all"] == "computed"
    assert header.step == 0
    assert header.provenance.simulated
    for name, values in start.items():
        np.testing.assert_array_equal(weights[name], values, err_msg=name)
    assert (loop.home / "before/report/index.html").exists()


def test_fine_tuning_takes_tiles_and_features_from_the_cache_and_starts_from_the_bundle(tuned):
    loop, _, after = tuned
    header = read_header(loop.home / "after/checkpoints/split1/hovernet_all.safetensors")

    assert {way for job, way in after.items() if job.startswith("prepare_own_data")} == {"reused"}
    assert {way for job, way in after.items() if job.startswith("extract_features/")} == {"reused"}
    assert after["train_hovernet/split1_all"] == "computed"
    assert header.start is not None
    assert header.start.file == "hovernet_all.safetensors"
    assert header.licence.startswith("weights trained on mine inherit CC0-1.0")


def test_both_runs_are_compared_on_tiles_that_trained_neither(tuned):
    loop, _, _ = tuned

    done = loop.cellvit("compare", "before", "after")

    assert done.returncode == 0, done.stderr
    with (loop.home / "comparison/compare.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["family"] for row in rows} >= {"all"}
    assert {row["split"] for row in rows} == {"1"}
