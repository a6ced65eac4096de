"""extract_features goes on where it was stopped, computes what changed alone, and meets from shards in one store."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from cellvit.__main__ import main
from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.config.settings import Settings
from cellvit.config.steps import step_settings
from cellvit.contracts.provenance import Provenance
from cellvit.contracts.records import TileBatch
from cellvit.contracts.stores import FAMILY_FEATURES, TILES
from cellvit.io.family import Member, write_family
from cellvit.io.features import open_family_features, open_features, read_features
from cellvit.io.hdf5 import as_names, writing
from cellvit.io.tiles import append_tiles

N = 60


def arguments(tiles: Path, features: Path, *more: object, seed: int = 0) -> list[str]:
    settings = Settings(encoder=EncoderSettings(preset="tiny-vit", weights="random", seed=seed))
    given = ["--tiles", tiles, "--features", features, "--device", "cpu", *more]
    return ["extract_features", "--settings", step_settings(settings, "extract_features"), *map(str, given)]


def extract(tiles: Path, features: Path, *more: object, seed: int = 0) -> str:
    """Run the stage; the content hash of what it wrote."""
    assert main(arguments(tiles, features, *more, seed=seed)) == 0
    with open_features(features) as store:
        return store.content_sha256


def reused(caplog: pytest.LogCaptureFixture) -> int:
    """Tiles that the last extraction took over."""
    return int(
        next(r.message for r in reversed(caplog.records) if "features written" in r.message)
        .split("reused=")[1]
        .split()[0]
    )


@pytest.fixture
def write_tiles(tmp_path: Path) -> Callable[..., Path]:
    """Write a fold whose tile `row` shows image `shown[row]`."""

    def write(shown: list[int], name: str = "tiles.h5") -> Path:
        n = len(shown)
        images = [np.random.default_rng(number).integers(0, 256, (256, 256, 3), dtype=np.uint8) for number in shown]
        blank = np.zeros((n, 256, 256), np.int32)
        ids = tuple(f"f1-{row:05d}" for row in range(n))
        batch = TileBatch(np.stack(images), blank, blank.astype(np.uint8), ("Colon",) * n, ids)
        with writing(tmp_path / name, TILES, n, {}, Provenance()) as writer:
            append_tiles(writer, batch)
        return tmp_path / name

    return write


def killed_in_mid_extraction(command: list[str], journal: Path, *, lines: int) -> int:
    """Start the stage in a process of its own and kill it -9 once the journal has that many lines."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-m", "cellvit", *command], env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if journal.exists() and journal.read_bytes().count(b"\n") >= lines:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    _, error = process.communicate()
    assert process.returncode == -signal.SIGKILL, error.decode()
    return journal.read_bytes().count(b"\n") - 1


def test_an_extraction_killed_in_the_middle_goes_on_and_ends_as_if_it_had_not_been(
    tmp_path: Path, write_tiles: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    tiles, whole, path = (
        write_tiles(list(range(N))),
        tmp_path / "whole" / "fold1.h5",
        tmp_path / "features" / "fold1.h5",
    )
    expected = extract(tiles, whole, "--batch-size", "2")
    journal = path.parent / ".partial" / "fold1.jsonl"
    blocks = killed_in_mid_extraction(arguments(tiles, path, "--batch-size", "2"), journal, lines=6)

    assert not path.exists()
    with caplog.at_level(logging.INFO):
        found = extract(tiles, path, "--batch-size", "2")

    assert 5 <= blocks < N // 2
    assert f"rows={2 * blocks} of={N}" in caplog.text
    assert f"features written tiles={N - 2 * blocks} of which reused=0" in caplog.text
    assert found == expected
    assert path.read_bytes() == whole.read_bytes()
    assert list((path.parent / ".partial").iterdir()) == []


@pytest.fixture
def stopped(tmp_path: Path, write_tiles: Callable[..., Path]) -> tuple[Path, Path]:
    """Tiles, and the store of an extraction that stopped after four blocks of two."""
    tiles, path = write_tiles(list(range(12))), tmp_path / "features" / "fold1.h5"
    with pytest.MonkeyPatch.context() as patch:
        from cellvit.stages import extract_features

        real = extract_features.append_features

        def until_full(writer: object, batch: object) -> None:
            if writer.row == 8:  # type: ignore[attr-defined]
                raise OSError("disk is gone")
            real(writer, batch)  # type: ignore[arg-type]

        patch.setattr(extract_features, "append_features", until_full)
        with pytest.raises(OSError, match="disk is gone"):
            main(arguments(tiles, path, "--batch-size", "2"))
    return tiles, path


def test_a_fault_of_the_writer_ends_the_stage_and_leaves_no_output(stopped: tuple[Path, Path]) -> None:
    _, path = stopped

    assert not path.exists()
    assert (path.parent / ".partial" / "fold1.jsonl").read_text().count("rows") == 1


def test_rows_that_were_torn_after_the_journal_named_them_are_written_again(
    stopped: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiles, path = stopped
    with h5py.File(path.parent / ".partial" / "fold1.h5", "r+") as file:
        file["tokens"][5, 0, 0, 3, 3, :40] = 0

    with caplog.at_level(logging.INFO):
        found = extract(tiles, path, "--batch-size", "2")

    assert "damaged" in caplog.text
    assert "rows=4-5" in caplog.text
    assert found == extract(tiles, tmp_path / "whole" / "fold1.h5", "--batch-size", "2")


def test_a_journal_whose_last_line_was_cut_is_believed_up_to_there(
    stopped: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    tiles, path = stopped
    journal = path.parent / ".partial" / "fold1.jsonl"
    journal.write_bytes(journal.read_bytes()[:-30])

    with caplog.at_level(logging.INFO):
        extract(tiles, path, "--batch-size", "2")

    assert "rows=6 of=12" in caplog.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"seed": 1}, "settings: ", id="settings"),
        pytest.param({"batch_size": "4"}, "block: 2 then, 4 now", id="block"),
        pytest.param({"shown": [99, *range(1, 12)]}, "tiles: ", id="tiles"),
    ],
)
def test_what_was_left_by_another_extraction_is_begun_anew_and_the_log_says_why(
    stopped: tuple[Path, Path],
    write_tiles: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    change: dict[str, object],
    said: str,
) -> None:
    tiles, path = stopped
    if "shown" in change:
        tiles = write_tiles(change["shown"])

    with caplog.at_level(logging.INFO):
        extract(tiles, path, "--batch-size", change.get("batch_size", "2"), seed=change.get("seed", 0))

    assert "begun anew" in caplog.text
    assert said in caplog.text
    assert "features written tiles=12 of which reused=0" in caplog.text


def test_a_partial_file_that_is_no_hdf5_is_begun_anew(
    stopped: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    tiles, path = stopped
    (path.parent / ".partial" / "fold1.h5").write_bytes(b"torn")

    with caplog.at_level(logging.INFO):
        extract(tiles, path, "--batch-size", "2")

    assert "no readable HDF5 file" in caplog.text


def test_two_extractions_of_one_store_wait_for_each_other(tmp_path: Path, write_tiles: Callable[..., Path]) -> None:
    tiles, path = write_tiles(list(range(6))), tmp_path / "features" / "fold1.h5"
    command = [sys.executable, "-m", "cellvit", *arguments(tiles, path, "--batch-size", "1")]

    both = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    logs = [process.communicate(timeout=120)[1].decode() for process in both]

    assert [process.returncode for process in both] == [0, 0], logs
    with open_features(path) as store:
        assert len(store) == 6
    assert list((path.parent / ".partial").iterdir()) == []


def test_tiles_that_changed_are_computed_alone_and_the_result_is_that_of_a_full_extraction(
    tmp_path: Path, write_tiles: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    path, shown = tmp_path / "features" / "fold1.h5", list(range(12))
    extract(write_tiles(shown), path, "--batch-size", "2")
    shown[5] = 77
    changed = write_tiles(shown)
    path.unlink()  # as Snakemake does before the job

    with caplog.at_level(logging.INFO):
        found = extract(changed, path, "--batch-size", "2")

        assert reused(caplog) == 10
        assert found == extract(changed, tmp_path / "full" / "fold1.h5", "--batch-size", "2")
        assert reused(caplog) == 0

    assert path.read_bytes() == (tmp_path / "full" / "fold1.h5").read_bytes()


def test_tiles_added_at_the_end_and_blocks_that_moved_are_found_again(
    tmp_path: Path, write_tiles: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "features" / "fold1.h5"
    extract(write_tiles(list(range(6))), path, "--batch-size", "2")

    with caplog.at_level(logging.INFO):
        extract(write_tiles([50, 51, *range(6), 52]), path, "--batch-size", "2")

    assert reused(caplog) == 6


def test_kept_features_of_other_settings_are_not_used_and_the_log_says_why(
    tmp_path: Path, write_tiles: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    tiles, path = write_tiles(list(range(4))), tmp_path / "features" / "fold1.h5"
    extract(tiles, path)

    with caplog.at_level(logging.INFO):
        extract(tiles, path, seed=1)

    assert reused(caplog) == 0
    assert "kept features are not used" in caplog.text
    assert "because settings: " in caplog.text


def test_kept_rows_that_were_damaged_are_computed_again(
    tmp_path: Path, write_tiles: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    tiles, path = write_tiles(list(range(6))), tmp_path / "features" / "fold1.h5"
    expected = extract(tiles, path, "--batch-size", "2")
    with h5py.File(path, "r+") as file:  # the kept store is the same file under another name
        file["tokens"][3, 0, 0, 3, 3, :40] = 0

    with caplog.at_level(logging.INFO):
        assert extract(tiles, path, "--batch-size", "2") == expected

    assert reused(caplog) == 4
    assert "rows=2-3" in caplog.text


def test_features_that_failed_their_check_are_not_taken_over(
    tmp_path: Path, write_tiles: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    tiles, path = write_tiles(list(range(4))), tmp_path / "features" / "fold1.h5"
    extract(tiles, path)
    with h5py.File(path, "r+") as file:
        file["cls"][...] = 9
    check = ["check_features", *arguments(tiles, path)[1:], "--out", str(tmp_path / "check.json")]

    assert main(check) == 1
    with caplog.at_level(logging.INFO):
        extract(tiles, path)

    assert reused(caplog) == 0
    assert main(check) == 0


def in_shards(tiles: Path, root: Path, count: int, *more: object) -> str:
    """Extract each shard, join them; the content hash of the fold."""
    shards = [root / "shards" / f"fold1_{number}of{count}.h5" for number in range(1, count + 1)]
    for number, shard in enumerate(shards, 1):
        assert main(arguments(tiles, shard, "--shard", f"{number}/{count}", *more)) == 0
    assert main(["join_shards", "--shards", *map(str, shards), "--features", str(root / "fold1.h5")]) == 0
    with open_features(root / "fold1.h5") as store:
        return store.content_sha256


@pytest.mark.parametrize("count", [2, 3, 7])
def test_a_fold_from_shards_is_the_fold_from_one_piece(
    tmp_path: Path, write_tiles: Callable[..., Path], count: int
) -> None:
    tiles, whole = write_tiles(list(range(9))), tmp_path / "whole" / "fold1.h5"
    expected = extract(tiles, whole, "--batch-size", "2")

    assert in_shards(tiles, tmp_path / "features", count, "--batch-size", "2") == expected

    rows = np.array([8, 0, 5, 3])
    with open_features(whole) as one, open_features(tmp_path / "features" / "fold1.h5") as many:
        first, second = read_features(one, rows), read_features(many, rows)
        assert one.provenance == many.provenance
    np.testing.assert_array_equal(first.tokens, second.tokens)
    np.testing.assert_array_equal(first.cls, second.cls)
    with h5py.File(tmp_path / "features" / "fold1.h5") as file:  # as any other program reads it
        np.testing.assert_array_equal(file["tokens"][rows[0]], first.tokens[0])


def test_a_fold_whose_shard_is_gone_or_was_made_anew_is_stale_and_not_zero(
    tmp_path: Path, write_tiles: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    tiles, root = write_tiles(list(range(4))), tmp_path / "features"
    in_shards(tiles, root, 2, "--batch-size", "1")
    check = ["check_features", *arguments(tiles, root / "fold1.h5")[1:], "--out", str(tmp_path / "check.json")]
    assert main(check) == 0

    extract(tiles, root / "shards" / "fold1_2of2.h5", "--shard", "2/2", "--batch-size", "1", seed=1)

    assert main(check) == 1
    message = capsys.readouterr().err
    assert "another version of" in message
    assert f"snakemake -- {root}/shards/fold1_2of2.h5" in message


def test_shards_of_different_tiles_are_not_joined(
    tmp_path: Path, write_tiles: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root, first = tmp_path / "features", write_tiles([0, 1, 2, 3], "a.h5")
    in_shards(first, root, 2)
    other = root / "shards" / "fold1_2of2.h5"
    extract(write_tiles([4, 5, 6, 7], "b.h5"), other, "--shard", "2/2")

    shards = [str(root / "shards" / "fold1_1of2.h5"), str(other)]
    assert main(["join_shards", "--shards", *shards, "--features", str(root / "fold1.h5")]) == 1

    message = capsys.readouterr().err
    assert "come from other tiles, weights or settings" in message
    assert f"snakemake -- {other}" in message


def test_another_number_of_shards_computes_nothing_anew_and_keeps_nothing_twice(
    tmp_path: Path, write_tiles: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    tiles, root = write_tiles(list(range(8))), tmp_path / "features"
    extract(tiles, root / "fold1.h5", "--batch-size", "2")

    with caplog.at_level(logging.INFO):
        in_shards(tiles, root, 2, "--batch-size", "2")

    taken = [record.message for record in caplog.records if "features written" in record.message]
    assert taken == ["features written tiles=4 of which reused=4"] * 2
    assert not (root / ".kept" / "fold1.h5").exists()
    assert sorted(path.name for path in (root / "shards" / ".kept").iterdir()) == ["fold1_1of2.h5", "fold1_2of2.h5"]


def test_the_store_says_what_made_it(tmp_path: Path, write_tiles: Callable[..., Path]) -> None:
    path = tmp_path / "features" / "fold1.h5"
    extract(write_tiles([0]), path)

    with open_features(path) as store:
        made = json.loads(store.attribute("extraction") or "")

    assert set(made) == {"settings", "weights", "code", "block", "arithmetic", "software"}
    assert made["arithmetic"] == "torch.float32 on cpu"
    assert FeaturesSettings.model_validate(json.loads(made["settings"])["features"]) == FeaturesSettings()


def test_a_family_reads_straight_from_the_shards_of_its_folds(tmp_path: Path, write_tiles: Callable[..., Path]) -> None:
    tiles, root = write_tiles(list(range(6))), tmp_path / "features"
    in_shards(tiles, root, 3, "--batch-size", "1")
    family, rows = tmp_path / "families" / "all" / "features.h5", np.array([0, 3, 5])
    names = {column: as_names(("",) * 3, "S16") for column in ("organ", "tile_id")}
    with open_features(root / "fold1.h5") as fold:
        expected = read_features(fold, rows)
        write_family(family, FAMILY_FEATURES, [Member(1, fold, rows)], names, Provenance(settings={"family": "all"}))

    with open_family_features(family) as store:
        assert [piece.path.name for piece in store.pieces] == [f"fold1_{k}of3.h5" for k in (1, 2, 3)]
        np.testing.assert_array_equal(read_features(store, np.arange(3)).tokens, expected.tokens)
        assert store.shape("tokens") == (3, 1, 1, 16, 16, 96)
    with h5py.File(family) as file:  # as any other program reads it
        np.testing.assert_array_equal(file["tokens"][()], expected.tokens)
        assert {Path(source.file_name).name for source in file["tokens"].virtual_sources()} == {
            f"fold1_{k}of3.h5" for k in (1, 2, 3)
        }


def test_tokens_have_a_chunk_for_each_tile_view_and_tap_and_cls_lies_apart(
    tmp_path: Path, write_tiles: Callable[..., Path]
) -> None:
    path = tmp_path / "features" / "fold1.h5"
    extract(write_tiles([0, 1]), path)

    with h5py.File(path) as file:
        assert file["tokens"].chunks == (1, 1, 1, 16, 16, 96)
        assert file["tokens"].fletcher32
        assert file["tokens"].id.get_num_chunks() == 2
        assert file["cls"].chunks == (1, 1, 96)
