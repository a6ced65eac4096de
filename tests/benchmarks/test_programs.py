import csv
import json
import runpy
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cellvit.data.pannuke import fold_files, read_blocks, read_names, read_types
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.family import write_members
from cellvit.formats.features import FEATURES
from cellvit.formats.provenance import Provenance
from cellvit.formats.writing import writing

PROGRAMS = sorted(path.name for path in (Path(__file__).parents[2] / "benchmarks").glob("*.py"))

SMALL_DECODER = "decoder={widths: [4, 4, 4, 4, 4], stem_widths: [4, 4]}"

SMALLEST = {
    "annotations.py": (("--images", "2", "--nuclei", "3"), "| 2 | 6 |"),
    "decoders.py": (
        ("--config", SMALL_DECODER, "--dim", "8", "--rounds", "1", "--batch", "1"),
        "| pixel_shuffle | `upsampling: pixel_shuffle` |",
    ),
    "extract.py": (("--tiles", "2", "--rounds", "1", "--read-tiles", "2"), "| the same with images and ground truth |"),
    "memory.py": (("--tiles", "2", "--batch", "2"), "2 training tiles"),
    "train.py": (
        ("--tiles", "2", "--batch", "2", "--epochs", "1", "--rounds", "1", "--widths", "4", "4", "4", "4", "4"),
        "| this |",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_import_of_a_program_exists(repository, monkeypatch, name):
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))

    names = runpy.run_path(str(repository / "benchmarks" / name))

    assert names["__doc__"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_a_program_runs_with_its_smallest_sizes(repository, name):
    arguments, expected = SMALLEST[name]

    command = [sys.executable, repository / "benchmarks" / name, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=repository)

    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


@pytest.fixture
def folds(tmp_path: Path, write_raw_fold: Callable[..., Path]) -> Path:
    for fold in (1, 2):
        write_raw_fold(tmp_path / "folds", fold, ["Colon", "Liver"])
    return tmp_path / "folds"


def test_views_trains_every_way_and_input_size(repository, folds, tmp_path):
    tiny = ("--epochs", "1", "--widths", "4", "4", "4", "4", "4", "--stem", "none", "--input-px", "112", "126")
    command = [sys.executable, repository / "benchmarks/views.py", folds, *tiny, "--keep", tmp_path / "kept"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| 1")]
    assert rows == [f"{px} px, {way}" for px in (112, 126) for way in ("rotated", "stored", "none")]
    assert "random weights" in done.stdout
    assert (tmp_path / "kept/112/fold1.h5").exists()


@pytest.fixture
def finished_run(tmp_path: Path, write_tile_store: Callable[..., Path]) -> Path:
    """Tiles, features and the family of all organs of two folds; the tokens are noise."""
    for fold in (1, 3):
        paths = [tmp_path / folder / f"fold{fold}.h5" for folder in ("tiles", "features", "families/all")]
        tiles, features, members = paths
        write_tile_store(tiles, fold, ["Colon"] * 4, sources=["CoNSeP", "CoNSeP", "MoNuSeg", "MoNuSeg"])
        rng = np.random.default_rng(fold)
        with writing(
            features, FEATURES, 4, {"views": 1, "blocks": 2, "g": 16, "dim": 8}, Provenance(data_set=PANNUKE)
        ) as writer:
            tokens = rng.normal(size=(4, 1, 2, 16, 16, 8)).astype(np.float16)
            writer.append(cls=rng.normal(size=(4, 1, 8)).astype(np.float32), tokens=tokens)
        write_members(members, fold=fold, organs=["Colon"], tiles=tiles, features=features)
    return tmp_path


def test_decoders_compares_variants_on_the_tiles_of_another_source(repository, finished_run):
    sources = ("--train-source", "CoNSeP", "--test-source", "MoNuSeg")
    settings = ("--config", SMALL_DECODER, "training={steps: 2, record_every: 1, validate_every: 1, batch_size: 2}")
    chosen = ("--variants", "default", "layer_norm", "--seeds", "0", "1", "--rounds", "1", "--batch", "1")
    command = [
        sys.executable,
        repository / "benchmarks/decoders.py",
        "--run",
        finished_run,
        *settings,
        *chosen,
        *sources,
    ]

    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=repository)

    assert done.returncode == 0, done.stderr
    heading, _, columns, _, default, normalised = done.stdout.splitlines()
    assert heading == "2 training tiles, 2 tiles kept back"
    assert columns.count("|") == default.count("|") == normalised.count("|") == 16
    assert default.count("| +0.000 |") == 3
    assert normalised.startswith("| layer_norm | `token_norm: layer` |")


def test_loss_weights_compares_the_parts_of_the_hv_loss_with_both_decodings(repository, finished_run):
    settings = ("--config", SMALL_DECODER, "training={steps: 2, record_every: 1, validate_every: 1, batch_size: 2}")
    chosen = ("--weights", "default", "magnitude 0", "--seeds", "0", "1")
    program = repository / "benchmarks/loss_weights.py"
    command = [sys.executable, program, "--run", finished_run, *settings, *chosen]

    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=repository)

    assert done.returncode == 0, done.stderr
    heading, _, columns, _, default, without = done.stdout.splitlines()
    assert heading == "4 training tiles, 4 tiles kept back"
    assert "AJI, hovernet" in columns
    assert "bPQ, hv_flow" in columns
    assert columns.count("|") == default.count("|") == without.count("|") == 13
    assert default.count("| +0.000") == 4
    assert without.startswith("| magnitude 0 |")


@pytest.mark.parametrize("by", ["patient", "source"])
def test_folds_of_real_tiles_keep_patients_together_and_deal_them_in_turn(repository, by):
    folds_of = runpy.run_path(str(repository / "benchmarks/real_folds.py"))["folds_of"]
    rows = [
        {"organ": organ, "source": source, "patient": f"{organ} {patient}"}
        for source, organs in (("CoNSeP", ["Colon"]), ("MoNuSeg", ["Liver", "Stomach"]))
        for organ in organs
        for patient in (1, 2, 3, 4, 1)
    ]

    folds = dict(zip([(row["source"], row["patient"]) for row in rows], folds_of(rows, by), strict=True))

    assert [folds[row["source"], row["patient"]] for row in rows] == folds_of(rows, by)
    by_fold = Counter((source, fold) for (source, _), fold in folds.items())
    if by == "source":
        assert {source: {fold for of, fold in by_fold if of == source} for source in ("CoNSeP", "MoNuSeg")} == {
            "CoNSeP": {1, 2, 3},
            "MoNuSeg": {4, 5, 6},
        }
        assert [by_fold["MoNuSeg", fold] for fold in (4, 5, 6)] == [3, 3, 2]
    else:
        assert [by_fold["MoNuSeg", fold] for fold in (1, 2, 3)] == [4, 2, 2], "each organ starts with fold 1"


@pytest.mark.real_tiles
def test_folds_of_real_tiles_are_read_with_their_patients_and_sources(repository, tmp_path):
    program, tiles = repository / "benchmarks/real_folds.py", repository.parent / "shared/real_tiles"
    program_names = runpy.run_path(str(program))
    with (tiles / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["patient"] == "train_10" or row["organ"] == "Stomach"]

    program_names["write_fold"](tmp_path, 1, tiles, rows)

    files = fold_files(tmp_path, 1)
    assert read_types(files) == tuple(row["organ"] for row in rows)
    assert set(read_names(files, "sources", len(rows))) == {"CoNSeP", "MoNuSeg"}
    blocks = list(read_blocks(files))
    assert sum(len(np.unique(tile)) - 1 for block in blocks for tile in block.masks[..., :-1].max(axis=-1)) == sum(
        int(row["nuclei"]) for row in rows
    )
    assert not sum(block.background_mismatch_px for block in blocks)


@pytest.mark.real_tiles
def test_slides_of_real_tiles_carry_every_annotated_nucleus(repository, tmp_path):
    program, tiles = repository / "benchmarks/correction_slides.py", repository.parent / "shared/real_tiles"

    subprocess.run([sys.executable, program, tmp_path, "--source", "MoNuSeg"], check=True, cwd=repository)

    with (tiles / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "MoNuSeg"]
    patients = Counter(row["patient"] for row in rows)
    assert {path.stem for path in tmp_path.glob("*.png")} == set(patients)
    for patient, n_tiles in patients.items():
        objects = json.loads((tmp_path / f"{patient}.geojson").read_text())["features"]
        names = Counter(one["properties"]["classification"]["name"] for one in objects)
        nuclei = sum(int(row["nuclei"]) for row in rows if row["patient"] == patient)
        assert names == {"Neoplastic": nuclei, "Checked": n_tiles}
