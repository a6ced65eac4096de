"""The command `export`: nuclei as AnnData."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from predicted import predicted, square_nuclei

from cellvit.__main__ import main
from cellvit.formats.dataset import DataSet, NuclearClass
from cellvit.prediction.outputs.write import write_outputs

anndata = pytest.importorskip("anndata", reason="the extra export is not installed")

PIXELS = np.full((300, 400, 3), (230, 180, 210), np.uint8)
PLACES = np.array([[30, 30], [90, 30], [200, 200]])


@pytest.mark.parametrize("table", ["csv", "parquet"])
def test_nuclei_are_observations_with_positions_in_um(tmp_path: Path, table: str) -> None:
    write_outputs(tmp_path / "slide", predicted([square_nuclei(PLACES, [1, 2, 4])], PIXELS), table=table)

    assert main(["export", str(tmp_path), "--to", "anndata"]) == 0

    found = anndata.read_h5ad(tmp_path / "slide" / "nuclei.h5ad")
    assert found.obs["class"].tolist() == ["Neoplastic", "Inflammatory", "Dead"]
    assert list(found.obs["class"].cat.categories) == ["Neoplastic", "Inflammatory", "Connective", "Dead", "Epithelial"]
    assert found.obsm["spatial"].tolist() == [[7.5, 7.5], [22.5, 7.5], [50.0, 50.0]]
    assert found.obs["area_um2"].tolist() == [4.0] * 3
    assert found.obs["unlike_training"].tolist() == [False, True, False]
    assert "CC BY-NC-SA 4.0" in found.uns["licence"]
    assert json.loads(found.uns["cellvit"])["image"] == "slide 1.svs"


def test_no_nuclei_and_a_class_named_na_are_exported(tmp_path: Path) -> None:
    own = DataSet(name="own", classes=(NuclearClass(name="NA", color="#ff0000"),), mpp=0.25)
    write_outputs(tmp_path / "none", predicted([], PIXELS))
    write_outputs(tmp_path / "na", predicted([square_nuclei(PLACES, [1, 1, 1], n_classes=1)], PIXELS, data_set=own))

    assert main(["export", str(tmp_path), "--to", "anndata"]) == 0

    assert anndata.read_h5ad(tmp_path / "none" / "nuclei.h5ad").n_obs == 0
    assert anndata.read_h5ad(tmp_path / "na" / "nuclei.h5ad").obs["class"].tolist() == ["NA"] * 3


def test_a_table_that_was_changed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_outputs(tmp_path, predicted([square_nuclei(PLACES, [1, 2, 4])], PIXELS))
    table = tmp_path / "nuclei.csv"
    table.write_text(table.read_text().replace("Dead", "Connective"))

    assert main(["export", str(tmp_path), "--to", "anndata"]) == 4

    assert "was changed after it was written" in capsys.readouterr().err
    assert not (tmp_path / "nuclei.h5ad").exists()


def test_a_limit_of_the_size_of_files_is_an_error_by_name_and_leaves_nothing(tmp_path: Path) -> None:
    write_outputs(tmp_path, predicted([square_nuclei(PLACES, [1, 2, 4])], PIXELS))
    words = [sys.executable, "-m", "cellvit", "export", str(tmp_path), "--to", "anndata"]

    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 20; exec "$@"', "_", *words], capture_output=True, text=True, check=False
    )

    assert done.returncode == 6, done.stderr
    assert f"error: {tmp_path / 'nuclei.h5ad'}: File too large. Fix: raise the limit" in done.stderr
    assert not list(tmp_path.glob("*nuclei.h5ad*"))


def test_a_folder_without_predictions_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), "--to", "anndata"]) == 3

    assert "no finished prediction" in capsys.readouterr().err
