import logging
import math
from pathlib import Path

import pytest

from cellvit.config.evaluation import IntegrityGates
from cellvit.errors import IntegrityError
from cellvit.formats.documents import read_document
from cellvit.formats.tiles import TargetCheck
from cellvit.stages.check_targets import Arguments, run


@pytest.fixture(scope="module")
def small(write_run):
    return write_run({1: ["Colon", "Stomach", "Colon", "Breast"], 2: []}, {"digestive": ("Colon", "Stomach")})


def check(small, out: Path, *, fold: int = 1, threads: int = 1, **gates: object) -> TargetCheck:
    (tiles,) = small.tiles(fold)
    run(Arguments(settings=IntegrityGates(**gates), fold=fold, tiles=tiles, check=out, threads=threads))
    return read_document(out, TargetCheck)


def test_valid_targets_are_described_with_their_upper_bound(small, tmp_path) -> None:
    document = check(small, tmp_path / "check.json")

    assert (document.fold, document.n_tiles, document.n_nuclei) == (1, 4, 9)
    assert document.tiles_by_organ == {"Breast": 1, "Colon": 2, "Stomach": 1}
    assert document.nuclei_by_class["Neoplastic"] == 6
    assert {method: values["aji"].n for method, values in document.upper_bound.items()} == {"hovernet": 3, "hv_flow": 3}
    assert all(values["aji"].value > 0.9 for values in document.upper_bound.values())
    assert document.upper_bound_aji_by_organ["Colon"].value > 0.9
    assert document.upper_bound_aji_by_organ["Breast"].n == 0
    assert document.hv_length == pytest.approx(0.67, abs=0.02)
    assert document.provenance.simulated
    assert [Path(name).name for name in document.provenance.made_from] == ["fold1.h5"]
    assert [one.name for one in document.checks] == ["hv", "np_coverage", "upper_bound_aji", "upper_bound_aji_by_organ"]


def test_a_fold_without_tiles_passes_with_a_warning(small, tmp_path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        document = check(small, tmp_path / "check.json", fold=2)

    assert document.n_tiles == 0
    assert math.isnan(document.coverage)
    assert all(math.isnan(values["aji"].value) for values in document.upper_bound.values())
    assert "fold=2 has no nucleus in 0 tiles" in caplog.text


def test_a_failed_check_leaves_no_file(small, tmp_path) -> None:
    with pytest.raises(IntegrityError, match=r"np_coverage: expected 0.9 to 0.95"):
        check(small, tmp_path / "check.json", np_coverage=(0.9, 0.95))

    assert not (tmp_path / "check.json").exists()


def test_several_processes_give_the_same_document(small, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("cellvit.inference.parallel.WORTH_A_POOL", 1)

    alone, together = (check(small, tmp_path / f"{threads}.json", threads=threads) for threads in (1, 2))

    assert alone.model_dump_json() == together.model_dump_json()
