"""The command `cellvit predict` from images to files."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from disks import refuse_locks, small_disk
from predictions import features_of, results, run_of, write_png
from small_bundle import discs

from cellvit.errors import IntegrityError
from cellvit.formats.locks import locked
from cellvit.formats.prediction import RUN
from cellvit.prediction.predict import WORK
from cellvit.stages import index_predictions
from cellvit.workflow.verification import faults_of, products

WriteDiscs = Callable[..., Path]
Predict = Callable[..., int]


def test_discs_of_an_image_are_found_with_their_classes(
    tmp_path: Path, write_discs: WriteDiscs, predict: Predict
) -> None:
    image = write_discs(300, 400)

    code = predict(image, out=tmp_path / "out")

    _, labels, _ = discs(300, 400, 0)
    n_drawn = len(np.unique(labels)) - 1  # of which many overlap
    run = run_of(tmp_path / "out" / "discs")
    assert code == 0
    assert 0.6 * n_drawn < run["n_nuclei"] <= n_drawn
    assert run["n_nuclei"] == len(features_of(tmp_path / "out" / "discs")) == run["counts"][0]["n"]
    assert {count["class_name"]: count["n"] > 0 for count in run["counts"]}["Neoplastic"]
    assert not (tmp_path / "out" / "discs" / ".work").exists()


@pytest.mark.parametrize(
    ("height", "width"),
    [
        pytest.param(40, 1, id="one_pixel_wide"),
        pytest.param(1, 1, id="one_pixel"),
        pytest.param(100, 80, id="smaller_than_a_tile"),
        pytest.param(257, 300, id="one_pixel_more_than_a_tile"),
        pytest.param(256, 256, id="one_tile"),
    ],
)
def test_images_of_any_size_are_predicted(
    tmp_path: Path, write_discs: WriteDiscs, predict: Predict, height: int, width: int
) -> None:
    image = write_discs(height, width)

    code = predict(image, out=tmp_path / "out")

    boxes = np.array([points(feature) for feature in features_of(tmp_path / "out" / "discs")]).reshape(-1, 4)
    assert code == 0
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= [width, height]).all()


def test_an_image_without_nuclei_says_so(tmp_path: Path, predict: Predict) -> None:
    image = write_png(tmp_path / "plain.png", np.full((300, 300, 3), (235, 200, 220), np.uint8))

    code = predict(image, out=tmp_path / "out")

    run = run_of(tmp_path / "out" / "plain")
    assert (code, run["n_nuclei"]) == (0, 0)
    assert "No nuclei were found in the analysed area." in run["warnings"]


def test_a_slide_without_tissue_says_so(tmp_path: Path, predict: Predict) -> None:
    image = write_png(tmp_path / "glass.png", np.full((700, 700, 3), 245, np.uint8))

    code = predict(image, out=tmp_path / "out", options=("--area", "tissue"))

    run = run_of(tmp_path / "out" / "glass")
    assert (code, run["n_nuclei"], run["n_tiles"]) == (0, 0, 0)
    assert run["warnings"][0].startswith("Nothing was analysed")


def test_a_folder_without_images_is_refused(
    tmp_path: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()

    code = predict(empty, out=tmp_path / "out")

    assert code == 3
    assert "empty" in capsys.readouterr().err


def test_an_unreadable_image_does_not_stop_the_others(
    tmp_path: Path, write_discs: WriteDiscs, predict: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = write_discs(256, 256, name="a"), write_discs(256, 256, name="c")
    broken = tmp_path / "b.png"
    broken.write_bytes(first.read_bytes()[:200])

    code = predict(first, broken, last, out=tmp_path / "out")

    error = capsys.readouterr().err
    assert code == 1
    assert "1 of 3 images could not be predicted" in error
    assert "b.png" in error
    assert run_of(tmp_path / "out" / "a")["n_nuclei"] > 0
    assert run_of(tmp_path / "out" / "c")["n_nuclei"] > 0


def test_a_finished_image_is_skipped_until_something_changes(
    tmp_path: Path, write_discs: WriteDiscs, predict: Predict, caplog: pytest.LogCaptureFixture
) -> None:
    image, out = write_discs(256, 256), tmp_path / "out"
    caplog.set_level("INFO")

    predict(image, out=out)
    first = (out / "discs" / "run.json").stat().st_mtime_ns
    predict(image, out=out)
    skipped = "finished already" in caplog.text
    second = (out / "discs" / "run.json").stat().st_mtime_ns
    predict(image, out=out, options=("--overlap-px", "64"))
    third = (out / "discs" / "run.json").stat().st_mtime_ns
    predict(image, out=out, options=("--overlap-px", "64", "--force"))
    fourth = (out / "discs" / "run.json").stat().st_mtime_ns

    assert skipped
    assert first == second < third < fourth


@pytest.mark.parametrize("name", ["nuclei.csv", "counts.csv", "nuclei.geojson", "run.json"])
def test_verify_names_a_file_of_a_prediction_that_was_changed(
    tmp_path: Path, write_discs: WriteDiscs, predict: Predict, name: str
) -> None:
    predict(write_discs(256, 256), out=tmp_path / "predictions")
    (run,) = products(tmp_path)
    intact = faults_of(run)
    changed = run.with_name(name)

    changed.write_bytes(changed.read_bytes().replace(b"1", b"2", 1))

    assert intact == []
    assert [fault.partition(":")[0] for fault in faults_of(run)] == [str(changed)]


def test_the_index_of_a_run_leaves_no_image_out_whose_record_was_changed(
    tmp_path: Path, write_discs: WriteDiscs, predict: Predict
) -> None:
    predict(write_discs(256, 256), out=tmp_path / "predictions")
    record, page = tmp_path / "predictions" / "discs" / "run.json", tmp_path / "predictions" / "index.html"
    page.unlink()
    record.write_text(record.read_text().replace('"n_nuclei": ', '"n_nuclei": 9', 1))

    with pytest.raises(IntegrityError, match="the file was changed after it was written"):
        index_predictions.run(index_predictions.Arguments(runs=(record,), page=page))

    assert not page.exists()


@pytest.mark.slow
def test_the_number_of_threads_changes_nothing(tmp_path: Path, write_discs: WriteDiscs, predict: Predict) -> None:
    image = write_discs(1100, 1100)  # 64 windows are worth processes

    predict(image, out=tmp_path / "one", options=("--threads", "1"))
    predict(image, out=tmp_path / "two", options=("--threads", "2"))

    assert results(tmp_path / "one" / "discs") == results(tmp_path / "two" / "discs")


def test_the_average_of_a_bundle_with_itself_is_the_bundle(
    tmp_path: Path, write_discs: WriteDiscs, predict: Predict, small_bundle: Path
) -> None:
    image = write_discs(300, 300)

    predict(image, out=tmp_path / "one")
    predict(image, out=tmp_path / "both", options=("--model", str(small_bundle)))

    one, both = (features_of(tmp_path / name / "discs") for name in ("one", "both"))
    assert one == both
    assert len(run_of(tmp_path / "both" / "discs")["models"]) == 2


def test_a_region_holds_the_nuclei_of_the_whole_image_inside_it(
    tmp_path: Path, write_discs: WriteDiscs, predict: Predict
) -> None:
    image = write_discs(700, 700)

    predict(image, out=tmp_path / "whole")
    predict(image, out=tmp_path / "region", options=("--region", "200,150,300,320"))

    whole, region = (
        {tuple(points(feature)) for feature in features_of(tmp_path / name / "discs")} for name in ("whole", "region")
    )
    assert 0 < len(region) < len(whole)
    assert region <= whole


def test_an_organ_with_a_wrong_name_is_refused_with_the_nearest(
    tmp_path: Path, write_discs: WriteDiscs, predict: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    code = predict(write_discs(256, 256), out=tmp_path / "out", options=("--organ", "collon"))

    assert code == 2
    assert "Fix: write Colon" in capsys.readouterr().err


@pytest.mark.parametrize("options", [(), ("--force",)])
def test_a_second_prediction_into_one_folder_is_refused_by_host_and_process(
    tmp_path: Path,
    write_discs: WriteDiscs,
    predict: Predict,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
) -> None:
    image, out = write_discs(256, 256), tmp_path / "out"
    (tmp_path / "link").symlink_to(out)
    shard = out / "discs" / WORK / "r00000_c00000.npz"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"of the first prediction")

    with locked(out / ".discs.lock", "predicts discs"):
        code = predict(image, out=tmp_path / "link", options=options)

    assert code == 5
    assert (
        f"another process predicts discs: host {socket.gethostname()} process {os.getpid()}" in capsys.readouterr().err
    )
    assert shard.read_bytes() == b"of the first prediction"
    assert predict(image, out=out, options=options) == 0
    assert not list(out.glob(".*"))


def test_a_finished_prediction_on_a_disk_without_locks_is_not_predicted_again(
    tmp_path: Path, write_discs: WriteDiscs, predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, out = write_discs(256, 256), tmp_path / "out"
    refuse_locks(monkeypatch, errno.ENOLCK)

    first, written = predict(image, out=out), (out / "discs" / RUN).stat().st_mtime_ns
    second = predict(image, out=out)

    assert (first, second) == (0, 0)
    assert (out / "discs" / RUN).stat().st_mtime_ns == written


def test_an_output_folder_that_is_a_file_ends_with_the_code_of_a_wrong_path(
    tmp_path: Path, write_discs: WriteDiscs, predict: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("a file")

    codes = [predict(write_discs(256, 256), out=out) for out in (tmp_path / "out", tmp_path / "out" / "inner")]

    assert codes == [3, 3]
    assert f"error: {tmp_path / 'out'}: File exists. Fix: a file, or a link to nothing" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "a file"


def test_a_full_disk_ends_a_prediction_with_its_own_code_and_the_file_by_name(
    tmp_path: Path, write_discs: WriteDiscs, predict: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", "16k") as disk:
        code = predict(write_discs(256, 256), out=disk / "out")
        left = [path.name for path in disk.rglob("*") if path.is_file()]

    assert code == 6
    assert f"error: {disk}/out/" in (said := capsys.readouterr().err)
    assert "No space left on device. Fix: free some space" in said
    assert set(left) <= {"index.csv", "index.html"}  # nothing of the image


def test_views_are_averaged_if_that_is_asked_for(tmp_path: Path, write_discs: WriteDiscs, predict: Predict) -> None:
    image = write_discs(256, 256)

    predict(image, out=tmp_path / "one")
    predict(image, out=tmp_path / "eight", options=("--average-views",))

    one, eight = (run_of(tmp_path / name / "discs")["n_nuclei"] for name in ("one", "eight"))
    assert abs(one - eight) <= 0.1 * one
    assert results(tmp_path / "one" / "discs") != results(tmp_path / "eight" / "discs")


@pytest.mark.slow
def test_a_killed_prediction_is_continued_with_equal_output(
    tmp_path: Path, write_discs: WriteDiscs, predict: Predict, small_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image, out = write_discs(300, 4700), tmp_path / "out"  # two chunks
    predict(image, out=tmp_path / "expected")
    command = [sys.executable, "-m", "cellvit", "predict", str(image), "--model", str(small_bundle), "--out", str(out)]
    process = subprocess.Popen(
        [*command, "--device", "cpu", "--mpp", "0.25", "--threads", "1"], stderr=subprocess.DEVNULL
    )
    shard = out / "discs" / ".work" / "r00000_c00000.npz"
    while not shard.exists():
        assert process.poll() is None
        time.sleep(0.01)

    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    written = shard.stat().st_mtime_ns
    left = shard.exists() and not (out / "discs" / "run.json").exists()
    code = predict(image, out=out)

    assert left
    assert written
    assert code == 0
    assert results(out / "discs") == results(tmp_path / "expected" / "discs")


def points(feature: dict) -> list[float]:
    """Left, top, right and bottom of a nucleus."""
    rings = feature["geometry"]["coordinates"]
    flat = np.array(rings[0] if feature["geometry"]["type"] == "Polygon" else rings[0][0], float)
    return [*flat.min(axis=0).tolist(), *flat.max(axis=0).tolist()]
