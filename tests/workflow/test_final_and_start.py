"""Final models on all folds, bundles, and a run that starts from the weights of an earlier one, through the real Snakemake."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from predictions import write_png

from cellvit.formats.bundle import read_bundle
from cellvit.formats.checkpoints import read_header
from cellvit.formats.content import content_of
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import read_document
from cellvit.formats.prediction import SlideRun
from cellvit.formats.watershed import WatershedChoice
from cellvit.taxonomy import DEFAULT_FAMILIES

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

FAMILIES = ("glandular", "digestive", "epidermal", "respiratory", "all")
_REMOVED = ("urologic", "epidermal", "respiratory")
TWO_FAMILIES = (
    f"families: {{{', '.join(f'{name}: null' for name in _REMOVED)}}}\n"
    f"left_out_organs: [{', '.join(organ for name in _REMOVED for organ in DEFAULT_FAMILIES[name])}]\n"
)


FINAL = ("final", "--config", "results=finals")
"""In an output folder of its own: other tests compare whole folders of the workshop."""


BUNDLES = ("bundle", "bundle_final", *FINAL[1:])


@pytest.fixture(scope="module")
def with_finals(finished):
    """The workshop after `snakemake final`, and the jobs of that call."""
    return finished, finished.ran(*FINAL, results="finals")


def test_final_trains_on_all_folds(with_finals):
    finished, jobs = with_finals
    results = finished.home / "finals"

    header = read_header(results / "checkpoints/final/hovernet_digestive.safetensors")
    head = read_header(results / "checkpoints/final/organ_head.safetensors")
    choice = read_document(results / "watershed/final/digestive.json", WatershedChoice)
    absent = read_header(results / "checkpoints/final/hovernet_respiratory.safetensors")

    ways = {name: way for job, way in jobs.items() if (name := job.partition("/")[2]).startswith("final")}
    assert ways == dict.fromkeys(["final", *(f"final_{family}" for family in FAMILIES)], "computed")
    assert (header.final, header.status, header.folds["train"], header.tiles["train"]) == (
        True,
        "trained",
        (1, 2, 3),
        7,
    )
    assert (head.final, head.status, head.tiles["train"]) == (True, "trained", 12)
    assert (choice.split, choice.status) == ("final", "tuned")
    assert (absent.final, absent.status) == (True, "absent")
    assert "No fold was left to test them" in (results / "report/final.html").read_text()


def test_final_models_are_intact_up_to_date_and_no_part_of_the_default_target(with_finals):
    finished, _ = with_finals

    verified = finished.cellvit("verify", "--configfile", "small.yaml", "--config", "results=finals")

    assert verified.returncode == 0, verified.stdout
    assert finished.planned(*FINAL) == {}
    assert not (finished.results / "checkpoints/final").exists()


def test_a_lost_final_model_comes_from_the_cache(with_finals):
    finished, _ = with_finals
    path = finished.home / "finals/checkpoints/final/hovernet_digestive.safetensors"
    before = path.read_bytes()
    path.unlink()

    jobs = finished.ran(*FINAL, results="finals")

    assert jobs["train_hovernet/final_digestive"] == "reused"
    assert path.read_bytes() == before


@pytest.fixture(scope="module")
def with_bundles(with_finals):
    """The workshop after `snakemake bundle bundle_final`, and the jobs of that call."""
    finished, _ = with_finals
    return finished, finished.ran(*BUNDLES, results="finals")


def test_bundles_hold_the_models_of_each_split_and_the_final_ones(with_bundles):
    finished, jobs = with_bundles
    results = finished.home / "finals"

    of_split, final = (read_bundle(results / "bundles" / name) for name in ("split1", "final"))

    assert {job for job in jobs if job.startswith("gather_bundle")} == {"gather_bundle/split1", "gather_bundle/final"}
    assert list(of_split.decoders) == ["glandular", "digestive", "all"]
    assert (of_split.document.final, final.document.final) == (False, True)
    assert final.document.folds["train"] == (1, 2, 3)
    assert of_split.document.decoder_of["Lung"] == "all"  # respiratory is absent
    assert of_split.document.provenance.marks == ("simulated data", "untrained encoder")
    assert of_split.document.commercial_use is True  # nothing of PanNuke is in simulated tiles
    assert of_split.organ_head is not None
    assert (
        of_split.decoders["digestive"].checkpoint.read_bytes()
        == (results / "checkpoints/split1/hovernet_digestive.safetensors").read_bytes()
    )


def test_bundles_are_intact_and_a_lost_file_of_one_is_made_again(with_bundles):
    finished, _ = with_bundles
    lost = finished.home / "finals/bundles/split1/hovernet_digestive.safetensors"
    digest = read_bundle(lost.parent).digest

    verified = finished.cellvit("verify", "--configfile", "small.yaml", "--config", "results=finals")
    planned = finished.planned(*BUNDLES)
    lost.unlink()
    broken = finished.cellvit("verify", "--configfile", "small.yaml", "--config", "results=finals")
    jobs = finished.ran(*BUNDLES, results="finals")

    assert verified.returncode == 0, verified.stdout
    assert planned == {}
    assert "hovernet_digestive.safetensors: the bundle lists this file, but it does not exist" in broken.stdout
    assert jobs == {"gather_bundle/split1": "computed"}
    assert read_bundle(lost.parent).digest == digest


def test_predict_makes_the_nuclei_of_every_image_and_their_index_and_repeats_nothing(with_bundles):
    finished, _ = with_bundles
    slides, predictions = finished.home / "slides", finished.home / "finals/predictions"
    rng = np.random.default_rng(0)
    for number, size in enumerate([(300, 257), (256, 256)]):
        write_png(slides / f"a{number}.png", rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    settings = '{images: slides, mpp: 0.25, area: whole, organ: Colon, models: ["1", final]}'
    target = ("predict", *FINAL[1:], f"prediction={settings}")

    jobs = finished.ran(*target, results="finals")
    run = read_document(predictions / "a0/run.json", SlideRun)
    index = pd.read_csv(predictions / "index.csv")

    assert {job for job in jobs if "predict" in job} == {
        "predict_image/a0",
        "predict_image/a1",
        "index_predictions/index",
    }
    assert (run.image.width, run.image.height, run.organ.organ, len(run.models)) == (257, 300, "Colon", 2)
    assert run.n_nuclei == len(json.loads((predictions / "a0/nuclei.geojson").read_text())["features"])
    assert len(index) == 2
    assert finished.planned(*target) == {}


def test_a_run_starts_from_the_weights_of_an_earlier_run_and_trains_again_if_the_file_changes(with_finals):
    finished, _ = with_finals
    start = finished.home / "start.safetensors"
    shutil.copy(finished.results / "checkpoints/split1/hovernet_all.safetensors", start)
    own = finished.home / "tuned.yaml"
    own.write_text(f"results: tuned\ntraining: {{start_from: {start.name}}}\n{TWO_FAMILIES}")

    jobs = finished.ran("--configfile", "small.yaml", own.name, results="tuned")
    header = read_header(finished.home / "tuned/checkpoints/split1/hovernet_digestive.safetensors")
    verified = finished.cellvit("verify", "--configfile", "small.yaml", own.name)
    shutil.copy(finished.results / "checkpoints/split1/hovernet_digestive.safetensors", start)
    again = finished.ran("--configfile", "small.yaml", own.name, results="tuned")

    assert jobs["extract_features/fold1"] == "reused"
    assert {jobs[f"train_hovernet/split1_{family}"] for family in ("digestive", "all")} == {"computed"}
    assert header.start is not None
    assert (header.start.file, header.start.family, header.start.new) == (start.name, "all", ())
    assert (
        header.provenance.made_from["data:start"]
        == content_of(finished.results / "checkpoints/split1/hovernet_all.safetensors").digest
    )
    assert header.start.n_validation_tiles_seen == 2
    assert "the start weights (start.safetensors) have seen 2 of 2" in (finished.home / "tuned/summary.txt").read_text()
    assert verified.returncode == 0, verified.stdout
    assert {again[f"train_hovernet/split1_{family}"] for family in ("digestive", "all")} == {"computed"}
    changed = read_header(finished.home / "tuned/checkpoints/split1/hovernet_all.safetensors")
    assert changed.start is not None
    assert changed.start.sha256 == sha256_of(start)


def test_a_final_model_is_no_start_of_a_run_that_tests_on_the_same_tiles(with_finals):
    finished, _ = with_finals
    start = finished.home / "final.safetensors"
    shutil.copy(finished.home / "finals/checkpoints/final/hovernet_digestive.safetensors", start)
    own = finished.home / "leaking.yaml"
    own.write_text(f"results: leaking\ntraining: {{start_from: {start.name}}}\n{TWO_FAMILIES}")

    done = finished.snakemake("--cores", "2", "--configfile", "small.yaml", own.name)

    assert done.returncode != 0
    assert "test tiles must be unseen, but these weights" in " ".join(done.stderr.split())
    assert not (finished.home / "leaking/checkpoints/split1/hovernet_digestive.safetensors").exists()
