"""Final models on all folds, and a run that starts from the weights of an earlier one, through the real Snakemake."""

import shutil

import pytest

from cellvit.formats.checkpoints import read_header
from cellvit.formats.content import content_of
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import read_document
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
    assert "test tiles must be unseen, but these weights" in done.stderr
    assert not (finished.home / "leaking/checkpoints/split1/hovernet_digestive.safetensors").exists()
