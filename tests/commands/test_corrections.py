"""The command `corrections`: a slide and its corrected nuclei become a data set that a run reads without a question."""

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import yaml
from bundles import small_bundle
from own_folders import tissue
from slides import write_pyramid

from cellvit.__main__ import main
from cellvit.config.settings import load_settings
from cellvit.data.own_data import read_own_data
from cellvit.data.own_images import read_own_image
from cellvit.data.pannuke import SIMULATED_MARK
from cellvit.data.simulate.slide import write_slide
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.locks import locked

DISKS = ((60, 60, 12, "Neoplastic"), (100, 70, 9, "Dead"), (180, 180, 8, "Connective"))


def feature(geometry: shapely.Geometry, name: str, kind: str = "detection") -> dict[str, Any]:
    properties = {"objectType": kind, "classification": {"name": name, "color": [0, 0, 0]}}
    return {"type": "Feature", "geometry": json.loads(shapely.to_geojson(geometry)), "properties": properties}


def corrected(path: Path, *boxes: tuple[int, int, int, int], more: tuple[dict[str, Any], ...] = ()) -> Path:
    """The file that QuPath exports: nuclei, and a rectangle for each x, y, right, bottom."""
    nuclei = [feature(shapely.Point(x + 0.5, y + 0.5).buffer(radius), name) for x, y, radius, name in DISKS]
    regions = [feature(shapely.box(*box), "Checked", "annotation") for box in boxes]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [*nuclei, *more, *regions]}))
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return small_bundle(tmp_path / "run")


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return write_pyramid(tmp_path / "case 1.tif", tissue(DISKS, 256), 0.25)


def called(slide: Path, file: Path, bundle: Path, out: Path, *more: str) -> int:
    return main(["corrections", str(slide), str(file), "--model", str(bundle), "--out", str(out), *more])


def test_a_slide_becomes_a_data_set_with_nothing_left_open(tmp_path, slide, bundle, capsys):
    file, out = corrected(tmp_path / "c.geojson", (30, 30, 140, 110), (130, 130, 240, 230)), tmp_path / "mine"

    code = called(slide, file, bundle, out, "--organ", "Colon", "--patient", "P1")

    own = read_own_data(out)
    first, second = (read_own_image(own, row) for row in own.rows)
    assert code == 0
    assert own.dataset(0.25).classes == PANNUKE.classes
    assert (own.description.licence, own.description.commercial_use) == (PANNUKE.licence, False)
    assert [(row.organ, row.patient, row.mpp) for row in own.rows] == [("Colon", "P1", 0.25)] * 2
    np.testing.assert_array_equal(first.pixels, tissue(DISKS, 256)[30:110, 30:140])
    assert first.written == {"Neoplastic": 1, "Dead": 1}
    assert second.written == {"Connective": 1}
    assert first.mpp == 0.25
    text = capsys.readouterr().out
    assert "2 regions of case 1.tif, 3 nuclei:" in text
    assert f"python -m cellvit show {out}" in text


def test_the_settings_beside_it_start_from_the_decoder_of_the_organ(tmp_path, slide, bundle):
    file = corrected(tmp_path / "c.geojson", (30, 30, 140, 110))

    called(slide, file, bundle, tmp_path / "mine", "--organ", "Colon")
    called(slide, file, bundle, tmp_path / "other")

    for out, family in (("mine", "digestive"), ("other", "all")):
        settings = load_settings(yaml.safe_load((tmp_path / out / "finetune.yaml").read_text()))
        assert settings.training.start_from == str(bundle / f"hovernet_{family}.safetensors")
        assert (settings.data.root, settings.data.mpp) == (str(tmp_path / out), 0.25)
        assert settings.encoder.preset == "h-optimus-0"
        assert settings.features.input_px == 224
        assert settings.families is None


def test_a_second_slide_is_added_and_the_same_one_is_replaced_by_force_alone(tmp_path, slide, bundle, capsys):
    out, other = tmp_path / "mine", write_pyramid(tmp_path / "case 2.tif", tissue(DISKS, 256, seed=1), 0.25)
    file = corrected(tmp_path / "c.geojson", (30, 30, 140, 110))
    called(slide, file, bundle, out)
    called(other, file, bundle, out)
    moved = corrected(tmp_path / "moved.geojson", (40, 30, 140, 110))

    refused, replaced = (called(slide, moved, bundle, out, *more) for more in ((), ("--force",)))

    assert (refused, replaced) == (4, 0)
    assert "has 1 images of the slide case" in capsys.readouterr().err
    rows = read_own_data(out).rows
    assert [Path(row.image).stem for row in rows] == ["x30_y30", "x40_y30"]
    assert len({row.patient for row in rows}) == 2
    assert len(list((out / "images").glob("*/*.png"))) == 2


def test_a_second_call_on_one_folder_is_refused_and_no_line_is_lost(tmp_path, slide, bundle, capsys):
    out, other = tmp_path / "mine", write_pyramid(tmp_path / "case 2.tif", tissue(DISKS, 256, seed=1), 0.25)
    file = corrected(tmp_path / "c.geojson", (30, 30, 140, 110))
    called(slide, file, bundle, out)
    before = (out / "tiles.csv").read_bytes()

    with locked(out / ".corrections.lock", "adds corrections to this data set"):
        code = called(other, file, bundle, out)

    assert code == 5
    assert f"another process adds corrections to this data set: host {socket.gethostname()}" in capsys.readouterr().err
    assert (out / "tiles.csv").read_bytes() == before
    assert not list(out.glob(".*"))


def test_a_class_that_the_model_does_not_have_is_added_on_request_alone(tmp_path, slide, bundle, capsys):
    mitosis = feature(shapely.box(60, 90, 70, 100), "Mitosis")
    file = corrected(tmp_path / "c.geojson", (30, 30, 140, 110), more=(mitosis,))

    refused = called(slide, file, bundle, tmp_path / "mine")
    is_written = (tmp_path / "mine").exists()
    accepted = called(slide, file, bundle, tmp_path / "mine", "--new-class", "Mitosis")

    own = read_own_data(tmp_path / "mine")
    assert (refused, is_written, accepted) == (4, False, 0)
    assert "Mitosis, at x=65, y=95" in capsys.readouterr().err
    assert own.dataset(0.25).class_names[1:] == (*PANNUKE.class_names[1:], "Mitosis")
    assert read_own_image(own, own.rows[0]).classes.max() == 6


def test_corrections_of_a_simulated_slide_are_marked_as_simulated(tmp_path, slide, bundle):
    simulated = tmp_path / "simulated.ome.tif"
    write_slide(simulated, "Colon", 0, width=300, height=260)
    file = corrected(tmp_path / "c.geojson", (30, 30, 140, 110))

    called(simulated, file, bundle, tmp_path / "a")
    called(slide, file, bundle, tmp_path / "b")

    assert (tmp_path / "a" / SIMULATED_MARK).exists()
    assert not (tmp_path / "b" / SIMULATED_MARK).exists()


def test_a_slide_without_a_resolution_is_refused_until_it_is_given(tmp_path, bundle, capsys):
    slide, file = (
        write_pyramid(tmp_path / "s.tif", tissue(DISKS, 256)),
        corrected(tmp_path / "c.geojson", (30, 30, 140, 110)),
    )

    refused, accepted = (called(slide, file, bundle, tmp_path / "m", *more) for more in ((), ("--mpp", "0.5")))

    own = read_own_data(tmp_path / "m")
    assert (refused, accepted) == (2, 0)
    assert "--mpp" in capsys.readouterr().err
    assert read_own_image(own, own.rows[0]).pixels.shape == (160, 220, 3)
    assert own.rows[0].mpp == 0.25
