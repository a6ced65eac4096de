"""The whole graph on a user's folder with three classes, no organs and 0.5 um per pixel: one decoder, no OrganHead."""

import csv
from pathlib import Path

import pytest
import yaml
from workshop import Workshop, make_workshop

from cellvit.data.simulate.own import write_own_data
from cellvit.formats.bundle import read_bundle
from cellvit.formats.checkpoints import read_header
from cellvit.formats.documents import read_document
from cellvit.formats.own_check import OwnDataCheck
from cellvit.formats.summary import SummaryOrigin

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

SETTINGS = """\
data: {root: own, mpp: 0.5}
families: null
splits: {"2": null, "3": null}
encoder: {preset: tiny-vit, weights: random}
decoder: {widths: [16, 12, 8, 8, 8], stem_widths: [4, 8]}
features: {views: [identity]}
training: {steps: 6, record_every: 3, validate_every: 3, batch_size: 2, learning_rate: 1.0e-3}
watershed: {method: [hovernet], np_threshold: [0.5], hv_threshold: [0.4], min_object_px: [10]}
further_seeds: [1]
"""


def without_organs(root: Path) -> None:
    """Leave the organ of each image empty in tiles.csv."""
    table = root / "tiles.csv"
    table.write_text(table.read_text().replace("Brain", ""))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Workshop:
    """The workshop after one complete run."""
    workshop = make_workshop(tmp_path_factory.mktemp("own"), repository, SETTINGS, {})
    write_own_data(workshop.home / "own", n_images=6, seed=0)
    without_organs(workshop.home / "own")
    done = workshop.snakemake("--cores", "2")
    assert done.returncode == 0, done.stderr[-6000:]
    (workshop.home / "run.log").write_text(done.stderr)
    return workshop


def test_one_decoder_runs_to_the_report_without_organ_head(own):
    steps = {path.name for path in (own.results / "logs").iterdir()}
    trained = sorted(path.stem for path in (own.results / "checkpoints/split1").glob("*.safetensors"))
    text = (own.results / "summary.txt").read_text()

    assert "prepare_own_data" in steps
    assert not {"prepare_fold", "train_organ_head", "evaluate_organ_head", "evaluate_routed"} & steps
    assert trained == ["hovernet_all", "hovernet_all-seed1"]
    assert "The decoder (8 test tiles of split 1):" in text
    assert "sd of 2 seeds" in text
    assert "The decoder (8 test tiles of split 1):" in (own.home / "run.log").read_text()


def test_the_data_set_is_in_the_headers_from_tiles_to_report(own):
    header = read_header(own.results / "checkpoints/split1/hovernet_all.safetensors")
    summary = read_document(own.results / "summary.json", SummaryOrigin)
    page = (own.results / "report/index.html").read_text()
    with (own.results / "evaluation/split1/all_tiles.csv").open() as file:
        row = next(csv.DictReader(file))

    assert header.dataset == summary.dataset
    assert header.classes[1:] == ("Tumour", "Lymphocyte", "Other")
    assert header.mpp == 0.5
    assert "pq_tumour" in row
    assert row["origin"].startswith("images/patient")
    assert row["origin"] in page
    assert "0.5 µm per pixel" in page
    assert 'stroke="#d81b60" d="M3 7h24"/></svg>Tumour' in page


def test_what_was_changed_while_reading_is_counted_and_shown(own):
    check = read_document(own.results / "tiles/own_data.json", OwnDataCheck)
    page = (own.results / "report/index.html").read_text()

    assert (check.n_images, check.n_resampled) == (6, 0)
    assert check.changed["nuclei_cut"] > 10
    assert "each counts once, in the tile that holds most of it" in page
    assert "Not annotated" in page


def test_a_finished_run_is_intact_and_nothing_is_left_to_do(own):
    verified = own.cellvit("verify", "--configfile", "small.yaml")

    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert not own.planned()


def test_one_decoder_without_organs_gives_a_bundle(own):
    own.ran("bundle")

    bundle = read_bundle(own.results / "bundles/split1")

    assert list(bundle.decoders) == ["all"]
    assert (bundle.document.decoder_of, bundle.document.default_decoder, bundle.organ_head) == ({}, "all", None)
    assert bundle.document.dataset.mpp == 0.5


def test_another_licence_or_image_runs_the_step_that_reads_the_folder_again(own):
    description = own.home / "own" / "dataset.yaml"
    before = description.read_text()
    try:
        description.write_text(yaml.safe_dump(yaml.safe_load(before) | {"licence": "CC BY 4.0"}))

        assert own.planned()["prepare_own_data"] == 1
    finally:
        description.write_text(before)


def test_settings_that_do_not_fit_the_data_set_stop_the_run_with_the_fix(own):
    refused = own.snakemake("-n", "--config", "families={'brain': ['Brain']}")

    assert refused.returncode != 0
    assert "set families: null" in refused.stdout + refused.stderr
