"""`verify` on a real run: what was changed behind Snakemake's back is named, and the command that it gives mends it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import pytest
from damaging import (
    Damage,
    flip_a_bit_of_a_token,
    flip_a_bit_on_the_disk,
    flip_the_last_bit,
    invert_a_pixel,
    keep_times,
    mend,
    replace,
    take_the_place_of,
    truncate,
    verify,
)
from workshop import Workshop

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


@pytest.fixture
def change(finished: Workshop) -> Iterator[Callable[[str, Damage], Path]]:
    """Damage a file of the workshop with its time kept; it is put back at the end."""
    before: dict[Path, tuple[bytes, os.stat_result]] = {}

    def damage(name: str, how: Damage) -> Path:
        path = finished.home / name
        before.setdefault(path, (path.read_bytes(), path.stat()))
        how(path)
        if path.exists():
            keep_times(path, before[path][1])
        return path

    yield damage
    for path, (content, status) in before.items():
        path.write_bytes(content)
        keep_times(path, status)


def test_a_finished_run_holds_from_raw_folds_to_report(finished: Workshop) -> None:
    verdict = verify(finished)

    assert verdict.code == 0, verdict.table + verdict.message
    assert set(verdict.states.values()) == {"ok"}
    assert verdict.states["families/epidermal/features.h5"] == "ok", "an absent family is fine"
    assert "links hold, from raw folds to results/report/index.html" in verdict.table


def test_nothing_of_it_loads_torch(finished: Workshop) -> None:
    program = "import sys; from cellvit.__main__ import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    command = [sys.executable, "-c", program, "verify", "--configfile", "small.yaml"]

    done = subprocess.run(command, cwd=finished.home, capture_output=True, text=True, check=True)

    assert done.stdout.endswith("False\n")


DAMAGES = [
    # file, what is done to it, product that is named, field of the claim
    pytest.param("features/fold1.h5", flip_a_bit_of_a_token, "", "row 1", id="bit_of_a_token"),
    pytest.param("features/fold1.h5", flip_a_bit_on_the_disk, "", "row 2", id="bit_on_the_disk"),
    pytest.param("tiles/fold2.h5", truncate, "", "file", id="truncated_store"),
    pytest.param("features/fold2.h5", take_the_place_of("fold1.h5"), "", "made_from.tiles", id="foreign_store"),
    pytest.param(
        "seals/features/fold2.json", replace('"says": "', '"says": "0'), "features/fold2.h5", "says", id="seal"
    ),
    pytest.param(
        "checkpoints/split1/hovernet_digestive.safetensors",
        take_the_place_of("hovernet_glandular.safetensors"), "", "family", id="checkpoint_of_another_family",
    ),
    pytest.param(
        "checkpoints/split1/training/hovernet_digestive.safetensors",
        take_the_place_of("hovernet_glandular.safetensors"), "", "family", id="training_of_another_family",
    ),
    pytest.param("checkpoints/split1/organ_head.safetensors", truncate, "", "file", id="truncated_checkpoint"),
    pytest.param("checkpoints/split1/hovernet_all.safetensors", flip_the_last_bit, "", "sha256", id="bit_of_a_weight"),
    pytest.param(
        "checkpoints/split1/hovernet_all_history.csv", flip_the_last_bit,
        "checkpoints/split1/hovernet_all.safetensors", "sha256", id="history",
    ),
    pytest.param("watershed/split1/digestive.json", replace("0.5", "0.51"), "", "sha256", id="watershed"),
    pytest.param("families/all/check.json", replace('"cover', '"Cover'), "", "file", id="proof_that_is_none"),
    pytest.param("evaluation/split1/digestive.json", replace("0.", "0.9"), "", "sha256", id="evaluation"),
    pytest.param("evaluation/split1/routed.json", truncate, "", "file", id="truncated_evaluation"),
    pytest.param(
        "evaluation/split1/all_tiles.csv", replace("0.", "0.9"), "evaluation/split1/all.json", "sha256", id="table"
    ),
    pytest.param("summary.csv", replace("0.", "0.9"), "", "sha256", id="summary"),
    pytest.param("summary.txt", replace("0.", "0.9"), "summary.csv", "sha256", id="text_of_the_summary"),
    pytest.param("report/index.html", replace("AJI", "AJI+"), "", "sha256", id="report"),
    pytest.param("families/digestive/targets.h5", Path.unlink, "", "file", id="family_gone"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "how", "product", "field"), DAMAGES)
def test_what_was_damaged_is_named_with_its_remedy(
    finished: Workshop,
    change: Callable[[str, Damage], Path],
    name: str,
    how: Damage,
    product: str,
    field: str,
) -> None:
    change(f"results/{name}", how)

    verdict = verify(finished)

    assert verdict.code == 1
    assert verdict.broken[0] == (product or name), verdict.table
    assert verdict.told("field").startswith(field)
    assert verdict.told("file") == f"results/{name}"
    assert verdict.told("expected") != verdict.told("found")
    assert name in verdict.told("Mend it") or f"results/{product}" in verdict.told("Mend it")


@pytest.mark.parametrize(
    ("name", "how"),
    [
        pytest.param("features/fold1.h5", flip_a_bit_on_the_disk, id="features"),
        pytest.param("tiles/fold2.h5", truncate, id="tiles"),
        pytest.param("seals/features/fold2.json", replace('"says": "', '"says": "0'), id="seal"),
        pytest.param(
            "checkpoints/split1/hovernet_digestive.safetensors",
            take_the_place_of("hovernet_glandular.safetensors"), id="checkpoint",
        ),
        pytest.param("checkpoints/split1/training/hovernet_digestive.safetensors", truncate, id="training"),
        pytest.param("checkpoints/split1/training/organ_head_history.csv", flip_the_last_bit, id="history"),
        pytest.param("evaluation/split1/digestive.json", replace("0.", "0.9"), id="evaluation"),
        pytest.param("summary.csv", replace("0.", "0.9"), id="summary"),
        pytest.param("families/digestive/features.h5", Path.unlink, id="family"),
    ],
)  # fmt: skip
def test_the_command_that_is_given_mends_it(finished: Workshop, name: str, how: Damage) -> None:
    path = finished.results / name
    times = path.stat()
    how(path)
    if path.exists():
        keep_times(path, times)

    mend(finished, verify(finished))

    verdict = verify(finished)
    assert verdict.code == 0, verdict.table + verdict.message
    assert not finished.planned()


def test_a_changed_figure_stops_the_run_and_is_named_before_what_the_stop_left_out(finished: Workshop) -> None:
    path = finished.results / "evaluation/split1/digestive.json"
    path.write_text(re.sub(r'"value": 0\.\d', '"value": 0.9', path.read_text(), count=1))
    stopped = finished.snakemake("--cores", "2")

    verdict = verify(finished)
    mend(finished, verdict)

    assert stopped.returncode != 0
    assert verdict.broken[0] == "evaluation/split1/digestive.json"
    assert verify(finished).code == 0
    assert not finished.planned()


def test_raw_content_whose_times_are_all_kept_is_noticed_and_its_remedy_makes_snakemake_notice(
    finished: Workshop, change: Callable[[str, Damage], Path]
) -> None:
    memory = finished.results / ".cellvit/raw_fold2.json"
    remembered = memory.read_bytes()
    path = change("raw/Fold 2/images/fold2/images.npy", invert_a_pixel)
    known = json.loads(remembered)
    status = path.stat()  # as on a file system that keeps the change time too
    known[str(path)][0] = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
    memory.write_text(json.dumps(known))

    unnoticed = finished.planned()
    verdict = verify(finished)
    removed = verdict.told("Mend it").partition(" && ")[0]

    assert not unnoticed
    assert verdict.broken[0] == "tiles/fold2.h5"
    assert verdict.told("field") == "made_from.images"
    assert "results/.cellvit/raw_fold2.json" in removed
    memory.unlink()
    assert finished.planned()["prepare_fold"] == 1
    memory.write_bytes(remembered)


def test_a_raw_file_that_is_gone_is_asked_back(finished: Workshop, change: Callable[[str, Damage], Path]) -> None:
    change("raw/Fold 1/masks/fold1/masks.npy", Path.unlink)

    verdict = verify(finished)

    assert verdict.broken[0] == "tiles/fold1.h5"
    assert verdict.told("Mend it").startswith("put back raw/Fold 1/masks/fold1/masks.npy")


def test_other_settings_than_those_of_the_run_are_named(finished: Workshop) -> None:
    verdict = verify(finished, "--config", "training={'epochs': 9}")

    assert verdict.broken[0] == "checkpoints/split1/training/hovernet_all.safetensors"
    assert (verdict.told("field"), verdict.told("expected"), verdict.told("found")) == (
        "settings.training.epochs", "9", "2",
    )  # fmt: skip
    assert "name them instead: --configfile, --config" in verdict.message
    assert "snakemake --configfile small.yaml --config 'training={'\"'\"'epochs'\"'\"': 9}' --" in verdict.message


def test_other_code_is_a_note(finished: Workshop) -> None:
    module = finished.home / "cellvit/training/schedule.py"
    original = module.read_text()
    module.write_text(original + "\nEDITED = 1\n")

    verdict = verify(finished)
    module.write_text(original)

    assert verdict.code == 0
    assert verdict.states["checkpoints/split1/training/hovernet_all.safetensors"] == "note"
    assert verdict.states["features/fold1.h5"] == "ok"


def test_a_file_that_no_step_makes_is_a_note(finished: Workshop) -> None:
    stranger = finished.results / "tiles/fold9.h5"
    stranger.write_bytes((finished.results / "tiles/fold1.h5").read_bytes())

    verdict = verify(finished)
    stranger.unlink()

    assert verdict.code == 0
    assert "results/tiles/fold9.h5  no step of this run makes it" in verdict.table


def test_shards_are_hashed_one_by_one(finished: Workshop) -> None:
    options = ("--config", "features={'shards': 2, 'batch_size': 2}", "results=sharded")
    done = finished.snakemake("--cores", "2", *options, "--", "sharded/features/fold2_check.json")
    assert done.returncode == 0, done.stderr[-4000:]
    shard = finished.home / "sharded/features/shards/fold2_2of2.h5"

    whole = verify(finished, *options).states
    original = shard.read_bytes()
    with h5py.File(shard, "r+") as file:
        file["cls"][0] = 9
    damaged = verify(finished, *options).states
    shard.write_bytes(original)

    names = ("features/shards/fold2_1of2.h5", "features/shards/fold2_2of2.h5", "features/fold2.h5")
    assert [whole[name] for name in names] == ["ok", "ok", "ok"]
    assert [damaged[name] for name in names] == ["ok", "broken", "ok"]
    assert whole["features/fold2_check.json"] == "ok"
    assert whole["tiles/fold1.h5"] == "broken", "it was never made"


def test_results_that_were_moved_still_hold(finished: Workshop) -> None:
    moved = finished.home / "elsewhere"
    finished.results.rename(moved)

    verdict = verify(finished, "--config", "results=elsewhere")
    moved.rename(finished.results)

    assert verdict.code == 0, verdict.table + verdict.message


def test_without_results_it_says_so(finished: Workshop) -> None:
    verdict = verify(finished, "--config", "results=nowhere")

    assert verdict.code == 1
    assert "nowhere: no such folder" in verdict.message
