"""The page and the table of all images of a folder."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from predicted import predicted, square_nuclei

from cellvit.formats.dataset import DataSet, NuclearClass
from cellvit.formats.page import page_digest, read_page_provenance
from cellvit.prediction.outputs.index import write_index
from cellvit.prediction.outputs.write import write_outputs

PIXELS = np.full((300, 400, 3), (230, 180, 210), np.uint8)
PLACES = np.array([[30, 30], [90, 30], [200, 200]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predictions")
    facts = predicted([], PIXELS).run.image
    hostile = facts.model_copy(update={"name": "=<b>2</b>.svs"})
    warnings = ("No nuclei were found.",)
    write_outputs(folder / "slide 1", predicted([square_nuclei(PLACES, [1, 1, 4])], PIXELS))
    write_outputs(folder / "slide#2", predicted([], PIXELS, image=hostile, warnings=warnings))
    (folder / "slide 3" / ".work").mkdir(parents=True)
    (folder / "empty").mkdir()
    write_index(folder)
    return folder


def test_the_page_has_a_row_with_a_picture_and_densities_for_each_image(folder: Path) -> None:
    page = (folder / "index.html").read_text()

    body = page[page.index("<tbody>") :]
    assert body.count("<tr>") == 2
    assert body.count("data:image/jpeg") == 2
    assert '<a href="slide%201/report.html">slide 1.svs</a>' in body
    assert f">{3 / 0.0075:,.0f}<" in body  # per mm2
    assert page_digest(folder / "index.html").recorded == page_digest(folder / "index.html").actual


def test_names_are_escaped_and_links_lead_to_the_folder(folder: Path) -> None:
    page = (folder / "index.html").read_text()

    assert '<a href="slide%232/report.html">=&lt;b&gt;2&lt;/b&gt;.svs</a>' in page


def test_warnings_and_unfinished_images_come_before_the_table(folder: Path) -> None:
    page = (folder / "index.html").read_text()
    head = page[: page.index("<tbody>")]

    assert "1 of 2 images has warnings" in head
    assert "slide 3: not finished" in head
    assert "empty" not in head[head.index("Without a finished prediction") :][:200]


def test_the_table_has_counts_with_intervals_and_the_licence(folder: Path) -> None:
    first, second = csv.DictReader((folder / "index.csv").read_text().splitlines())

    assert (first["image"], first["n"], first["n_neoplastic"], first["n_dead"]) == ("slide 1.svs", "3", "2", "1")
    assert (first["low"], first["high"], first["per_mm2"]) == ("2.0", "4.0", "400.0")
    assert second["image"] == "'=<b>2</b>.svs"
    assert second["warnings"] == "No nuclei were found."
    assert "CC BY-NC-SA 4.0" in first["licence"]


def test_the_page_records_the_runs_that_it_was_made_from(folder: Path) -> None:
    assert list(read_page_provenance(folder / "index.html").made_from) == ["slide 1/run.json", "slide#2/run.json"]


def test_models_of_other_classes_have_empty_cells_and_a_remark(tmp_path: Path) -> None:
    own = DataSet(name="own", classes=(NuclearClass(name="Nucleus", color="#ff0000"),), mpp=0.25)
    write_outputs(tmp_path / "a", predicted([square_nuclei(PLACES, [1, 2, 3])], PIXELS))
    nuclei = square_nuclei(PLACES, [1, 1, 1], n_classes=1)
    write_outputs(tmp_path / "b", predicted([nuclei], PIXELS, data_set=own, models={"own": "cd" * 32}))

    write_index(tmp_path)

    first, second = csv.DictReader((tmp_path / "index.csv").read_text().splitlines())
    assert (first["n_nucleus"], second["n_nucleus"], second["n_neoplastic"]) == ("", "3", "")
    assert "not all predicted with the same models" in (tmp_path / "index.html").read_text()


def test_a_damaged_run_is_named_and_the_others_are_shown(folder: Path, tmp_path: Path) -> None:
    write_outputs(tmp_path / "good", predicted([], PIXELS))
    write_outputs(tmp_path / "bad", predicted([], PIXELS))
    run = tmp_path / "bad" / "run.json"
    run.write_text(re.sub(r'"n_tiles": \d+', '"n_tiles": 99', run.read_text()))

    write_index(tmp_path)

    page = (tmp_path / "index.html").read_text()
    assert "bad: " in page
    assert "was changed after it was written" in page
    assert "1 image</h1>" in page


def test_a_folder_without_predictions_gives_a_page_that_says_so(tmp_path: Path) -> None:
    write_index(tmp_path)

    assert "No prediction is finished." in (tmp_path / "index.html").read_text()
    assert len((tmp_path / "index.csv").read_text().splitlines()) == 1
