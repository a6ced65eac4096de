"""nuclei.csv and nuclei.parquet."""

import builtins
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from predicted import predicted, square_nuclei

from cellvit.errors import MissingInputError
from cellvit.formats.dataset import DataSet, NuclearClass
from cellvit.prediction.outputs.measured import columns_of, measured
from cellvit.prediction.outputs.survey import nearest_px, survey_of
from cellvit.prediction.outputs.table import table_writer
from cellvit.prediction.result import PredictedImage

PLACES = np.array([[20, 30], [60, 30], [40, 80]])
PIXELS = np.full((100, 100, 3), 200, np.uint8)


@pytest.fixture
def image() -> PredictedImage:
    return predicted([square_nuclei(PLACES[:2], [1, 2]), square_nuclei(PLACES[2:], [5])], PIXELS)


def written(path: Path, image: PredictedImage) -> Path:
    nearest_um, first = survey_of(image.nuclei(), mpp=image.model_mpp).nearest_um, 0
    with table_writer(path, image.run) as writer:
        for table in image.nuclei():
            writer.write(measured(table, nearest_um[first : first + len(table)], image))
            first += len(table)
    return path


def test_a_row_has_position_class_probabilities_and_measurements(image: PredictedImage, tmp_path: Path) -> None:
    table = pd.read_csv(written(tmp_path / "nuclei.csv", image))

    assert tuple(table.columns) == columns_of(image.data_set)
    row = table.iloc[1]
    assert (row["x_px"], row["y_px"], row["x_um"], row["y_um"]) == (60.0, 30.0, 15.0, 7.5)
    assert (row["class"], row["probability"], row["probability_inflammatory"]) == ("Inflammatory", 0.8, 0.8)
    assert (row["area_um2"], row["perimeter_um"], row["orientation_deg"]) == (4.0, 8.0, -30.0)
    assert table["unlike_training"].tolist() == [0, 1, 0]
    assert set(table["licence"]) == {"no commercial use"}


def test_the_nearest_nucleus_is_that_of_the_whole_image(image: PredictedImage, tmp_path: Path) -> None:
    table = pd.read_csv(written(tmp_path / "nuclei.csv", image))

    assert table["nearest_um"].tolist() == [10.0, 10.0, 13.46]


def test_the_nearest_nucleus_agrees_with_all_pairs() -> None:
    points = np.random.default_rng(0).random((300, 2)) * 100

    distances = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    np.fill_diagonal(distances, np.inf)
    assert np.allclose(nearest_px(points), distances.min(axis=1))


def test_a_single_nucleus_has_no_nearest_one(tmp_path: Path) -> None:
    table = pd.read_csv(written(tmp_path / "nuclei.csv", predicted([square_nuclei(PLACES[:1], [1])], PIXELS)))

    assert table["nearest_um"].isna().all()


def test_two_nuclei_at_one_place_are_at_distance_zero() -> None:
    assert nearest_px(np.array([[1.0, 1.0], [1.0, 1.0], [4.0, 5.0]])).tolist() == [0.0, 0.0, 5.0]


def test_parquet_has_the_same_rows_and_says_what_the_licence_means(image: PredictedImage, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")

    path = written(tmp_path / "nuclei.parquet", image)

    expected = pd.read_csv(written(tmp_path / "nuclei.csv", image)).astype({"unlike_training": bool})
    read = parquet.read_table(path)
    pd.testing.assert_frame_equal(read.to_pandas(), expected, check_dtype=False)
    assert json.loads(read.schema.metadata[b"cellvit"])["commercial_use"] is False


@pytest.mark.parametrize("name", ["nuclei.csv", "nuclei.parquet"])
def test_no_nuclei_give_a_table_of_columns(tmp_path: Path, name: str) -> None:
    image = predicted([], PIXELS)

    path = written(tmp_path / name, image)

    table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    assert tuple(table.columns) == columns_of(image.data_set)
    assert table.empty


def test_undefined_measurements_are_empty_cells(tmp_path: Path) -> None:
    nuclei = replace(square_nuclei(PLACES, [1, 2, 5]), eccentricity=np.array([np.nan, 0.25, 0], np.float32))

    lines = written(tmp_path / "nuclei.csv", predicted([nuclei], PIXELS)).read_text().splitlines()

    place = lines[0].split(",").index("eccentricity")
    assert [line.split(",")[place] for line in lines[1:]] == ["", "0.25", "0.0"]


def test_spreadsheets_compute_nothing_from_the_name_of_a_class(tmp_path: Path) -> None:
    data_set = DataSet(name="own", classes=(NuclearClass(name='=cmd|"a",b', color="#ff0000"),), mpp=0.25)
    image = predicted([square_nuclei(PLACES, [1, 1, 1], n_classes=1)], PIXELS, data_set=data_set)

    table = pd.read_csv(written(tmp_path / "nuclei.csv", image))

    assert set(table["class"]) == {'\'=cmd|"a",b'}


def test_parquet_without_pyarrow_names_what_to_install(
    image: PredictedImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without_pyarrow(name: str, *args: object, **kwargs: object) -> object:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pyarrow)

    with pytest.raises(MissingInputError, match=r"pip install cellvit-optimus\[export\]"):
        written(tmp_path / "nuclei.parquet", image)
    assert not list(tmp_path.iterdir())
