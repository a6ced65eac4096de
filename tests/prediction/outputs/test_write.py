"""All files of one image: complete, equal for equal inputs, and none half written."""

import gzip
import json
import os
import resource
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from disks import small_disk
from predicted import predicted, square_nuclei

from cellvit.formats.dataset import PANNUKE
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import read_document
from cellvit.formats.nuclei import NucleiTable
from cellvit.formats.prediction import RUN, SlideRun
from cellvit.formats.provenance import Provenance
from cellvit.prediction.outputs.write import write_outputs
from cellvit.prediction.result import PredictedImage

PIXELS = np.full((512, 640, 3), (230, 180, 210), np.uint8)
PLACES = np.array([[x, y] for y in range(30, 480, 30) for x in range(30, 600, 30)])


def image_of(places: np.ndarray = PLACES, **changes: object) -> PredictedImage:
    classes = 1 + np.arange(len(places)) % 5
    chunks = [square_nuclei(places[i : i + 50], classes[i : i + 50]) for i in range(0, len(places), 50)]
    return predicted(chunks, PIXELS, **changes)


def test_the_run_lists_every_file_with_its_digest(tmp_path: Path) -> None:
    run = write_outputs(tmp_path / "slide", image_of())

    files = {path.name for path in (tmp_path / "slide").iterdir()}
    assert files == {RUN, *run.files}
    assert {"nuclei.geojson", "nuclei.csv", "counts.csv", "overlay.png", "area.geojson", "report.html"} <= files
    assert {"density.png", *(f"density_{key}.png" for key in PANNUKE.class_keys)} <= files
    assert all(sha256_of(tmp_path / "slide" / name) == digest for name, digest in run.files.items())
    assert read_document(tmp_path / "slide" / RUN, SlideRun) == run


def test_equal_predictions_give_equal_bytes(tmp_path: Path) -> None:
    first, second = (write_outputs(tmp_path / name, image_of(), compress=True) for name in "ab")

    assert first == second
    assert "nuclei.geojson.gz" in first.files


def test_geojson_table_and_counts_agree(tmp_path: Path) -> None:
    run = write_outputs(tmp_path, image_of(), table="parquet", compress=True)

    features = json.loads(gzip.decompress((tmp_path / "nuclei.geojson.gz").read_bytes()))["features"]
    table = pd.read_parquet(tmp_path / "nuclei.parquet")
    assert [feature["id"] for feature in features] == table["id"].tolist()
    assert table["class"].value_counts().to_dict() == {count.class_name: count.n for count in run.counts[1:]}
    assert run.counts[0].n == run.n_nuclei == len(PLACES)


def test_files_of_an_earlier_prediction_with_other_options_are_removed(tmp_path: Path) -> None:
    write_outputs(tmp_path, image_of())
    (tmp_path / "density_old_class.png").write_bytes(b"")
    (tmp_path / "nuclei.h5ad").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("mine")

    run = write_outputs(tmp_path, image_of(), table="parquet", compress=True)

    assert {path.name for path in tmp_path.iterdir()} == {RUN, "notes.txt", *run.files}


def test_no_nuclei_give_valid_empty_files_and_a_page_that_says_so(tmp_path: Path) -> None:
    write_outputs(tmp_path, predicted([NucleiTable.none(5)], PIXELS))

    assert json.loads((tmp_path / "nuclei.geojson").read_text())["features"] == []
    assert pd.read_csv(tmp_path / "nuclei.csv").empty
    assert pd.read_csv(tmp_path / "counts.csv")["n"].tolist() == [0] * 6
    assert "No nuclei were found in 0.0205 mm² of analysed area." in (tmp_path / "report.html").read_text()


def test_every_output_says_that_commercial_use_is_forbidden(tmp_path: Path) -> None:
    write_outputs(tmp_path, image_of())

    for name in ("nuclei.geojson", "counts.csv", "run.json", "report.html"):
        assert "CC BY-NC-SA 4.0" in (tmp_path / name).read_text(), name
    assert "no commercial use" in (tmp_path / "nuclei.csv").read_text()


def test_the_page_shows_marks_warnings_and_intervals(tmp_path: Path) -> None:
    provenance = Provenance(data_set=PANNUKE, simulated=True, encoder_mark="untrained encoder")
    warning = "The organ is uncertain: Colon has a mean probability of 0.41."

    write_outputs(tmp_path, image_of(provenance=provenance, warnings=(warning,), n_unlike=5))

    page = (tmp_path / "report.html").read_text()
    assert "Attention: simulated data." in page
    assert "Attention: untrained encoder." in page
    assert page.index(warning) < page.index("<h2>Image</h2>")
    assert "90% interval" in page
    assert "validation patients" in page
    assert "5 of 25 tiles (20.0%) are unlike the training data" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_hostile_names_are_escaped_on_the_page(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>'\"&.svs"
    facts = image_of().run.image.model_copy(update={"name": name})

    write_outputs(tmp_path, image_of(image=facts, warnings=("<img src=x onerror=alert(1)>",)))

    page = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert json.loads((tmp_path / "nuclei.geojson").read_text())["cellvit"]["image"] == name


def test_an_interrupted_writing_leaves_no_run(tmp_path: Path) -> None:
    write_outputs(tmp_path, image_of())
    image = image_of()

    def broken() -> Iterator[NucleiTable]:
        yield next(image.nuclei())
        raise KeyboardInterrupt

    calls = iter([image.nuclei, broken])
    with pytest.raises(KeyboardInterrupt):
        write_outputs(tmp_path, replace(image, nuclei=lambda: next(calls)()))

    assert not (tmp_path / RUN).exists()
    assert not list(tmp_path.glob(".*part"))


def test_nuclei_that_differ_from_the_counts_are_never_written_as_a_run(tmp_path: Path) -> None:
    image = image_of()

    with pytest.raises(AssertionError, match="are written"):
        write_outputs(tmp_path, replace(image, nuclei=lambda: iter([next(image.nuclei())])))

    assert not (tmp_path / RUN).exists()


@contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    """Let the system refuse to write files beyond this size, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("options", "n_bytes"),
    [({}, 20_000), ({"table": "parquet"}, 4_000), ({"compress": True}, 4_000)],
    ids=["csv", "parquet", "gzip"],
)
def test_a_file_that_cannot_be_written_is_named_and_nothing_half_is_left(
    tmp_path: Path, options: dict[str, object], n_bytes: int
) -> None:
    with largest_file(n_bytes), pytest.raises(OSError, match=r"File too large: '.*/nuclei\.\w+"):
        write_outputs(tmp_path, image_of(), **options)

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("n_bytes", [0, 1_000, 10_000, 60_000, 130_000, 200_000])
def test_wherever_writing_fails_there_is_no_run_and_no_half_file(tmp_path: Path, n_bytes: int) -> None:
    image = image_of(PLACES[:100])

    with largest_file(n_bytes), pytest.raises(OSError, match=r"File too large: '.*/\w+\.\w+"):
        write_outputs(tmp_path, image)

    assert not (tmp_path / RUN).exists()
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_is_an_error_by_name(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        with pytest.raises(OSError, match=r"No space left on device: '.*/slide/\w"):
            write_outputs(disk / "slide", image_of())

        assert not list((disk / "slide").iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(PermissionError, match="slide"):
        write_outputs(tmp_path / "slide", image_of())


@pytest.mark.slow
def test_two_hundred_thousand_nuclei_take_little_memory(tmp_path: Path) -> None:
    side = np.arange(0, 50_000, 100)
    places = np.stack(np.meshgrid(side[:400] + 5, side + 5), axis=-1).reshape(-1, 2)  # 200,000
    facts = image_of().run.image.model_copy(update={"width": 50_000, "height": 50_000})
    classes = 1 + np.arange(len(places)) % 5

    def chunks() -> Iterator[NucleiTable]:
        for first in range(0, len(places), 2_000):
            yield square_nuclei(places[first : first + 2_000], classes[first : first + 2_000])

    image = predicted(list(chunks()), PIXELS, image=facts)
    image = replace(image, nuclei=chunks, view=replace(image.view, scale=50_000 / 640, size=(50_000, 50_000)))
    tracemalloc.start()
    try:
        write_outputs(tmp_path, image)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 100e6  # the GeoJSON alone has 130 MB
