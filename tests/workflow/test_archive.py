"""A finished run is archived, and its features are removed and made again."""

import os
import pty
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from workshop import Workshop

from cellvit.config.settings import load_settings

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

NEW_GATE = ("--config", "gates={'quality': {'aji': {'pass': 0.61}}}")


def features(workshop: Workshop) -> set[str]:
    return {path.name for path in (workshop.results / "features").glob("*.h5")}


def archives(workshop: Workshop) -> list[Path]:
    return sorted((workshop.results / "archive").glob("[0-9]*"))


@pytest.fixture
def archive(finished: Workshop) -> Iterator[Path]:
    """The archive of the finished run, which is removed at the end."""
    done = finished.snakemake("--cores", "1", "--", "archive")
    assert done.returncode == 0, done.stderr[-4000:]
    (made,) = archives(finished)
    yield made
    shutil.rmtree(made.parent)


def test_an_archive_holds_what_its_manifest_and_its_text_say(archive: Path) -> None:
    checked = subprocess.run(
        ["sha256sum", "--strict", "-c", "MANIFEST.sha256"], cwd=archive, capture_output=True, text=True, check=False
    )
    settings = load_settings(yaml.safe_load((archive / "settings.yaml").read_text()))

    assert checked.returncode == 0, checked.stdout
    listed = {line.partition(": ")[0] for line in checked.stdout.splitlines()}
    assert {
        "README.txt",
        "settings.yaml",
        "summary.csv",
        "summary.json",
        "report/index.html",
        "checkpoints/split1/hovernet_all.safetensors",
        "checkpoints/split1/organ_head.safetensors",
        "watershed/split1/digestive.json",
        "evaluation/split1/routed.json",
        "evaluation/split1/digestive_tiles.csv",
    } <= listed
    assert {str(path.relative_to(archive)) for path in archive.rglob("*") if path.is_file()} == listed | {
        "MANIFEST.sha256"
    }
    assert "simulated data, untrained encoder" in (archive / "README.txt").read_text()
    assert (settings.training.steps, settings.data.root) == (6, "raw")


def test_equal_content_is_not_archived_twice_and_other_content_gets_its_own_folder(
    finished: Workshop, archive: Path
) -> None:
    again = finished.snakemake("--cores", "1", "--", "archive")
    other = finished.snakemake("--cores", "2", *NEW_GATE, "--", "archive")
    finished.ran()

    assert f"results/archive/{archive.name} has this content already" in again.stdout + again.stderr
    assert other.returncode == 0, other.stderr[-4000:]
    assert len(archives(finished)) == 2
    assert archive in archives(finished)
    assert not finished.planned(), "no product of the run depends on it"


def test_an_archive_that_was_changed_is_never_overwritten(finished: Workshop, archive: Path) -> None:
    (archive / "summary.csv").write_text("better\n")

    done = finished.snakemake("--cores", "1", "--", "archive")

    assert done.returncode != 0
    assert f"Fix: mv results/archive/{archive.name}" in done.stdout + done.stderr
    assert (archive / "summary.csv").read_text() == "better\n"


@pytest.mark.parametrize("name", ["report/index.html", "checkpoints/split1/hovernet_digestive.safetensors"])
def test_what_was_changed_by_hand_is_not_archived(finished: Workshop, name: str) -> None:
    path = finished.results / name
    original, times = path.read_bytes(), path.stat()
    path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    done = finished.snakemake("--cores", "1", "--", "archive")
    path.write_bytes(original)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert done.returncode != 0
    assert f"{name}: was changed after it was written" in done.stdout + done.stderr
    assert f"Fix: rm results/{name}  # then run snakemake again with the same settings" in done.stdout + done.stderr
    assert archives(finished) == []


def test_without_a_yes_features_are_listed_and_stay(finished: Workshop) -> None:
    before = features(finished)

    done = finished.snakemake("--cores", "1", "--", "clean_features")

    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert features(finished) == before != set()
    assert all(f"MB  results/features/{name}" in output for name in before)
    assert "snakemake clean_features --config clean=yes" in output


def answer(workshop: Workshop, text: str) -> str:
    """Run clean_features on a terminal of its own and answer its question; everything that it showed."""
    command = ["snakemake", "--configfile", "small.yaml", "--cores", "1", "--", "clean_features"]
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(workshop.home)
        os.execvp(command[0], command)
    shown = b""
    try:
        while chunk := os.read(terminal, 4096):
            if b"Type yes: " in chunk + shown[-20:]:
                os.write(terminal, f"{text}\n".encode())
            shown += chunk
    except OSError:  # the terminal's other end is closed
        pass
    os.waitpid(process, 0)
    os.close(terminal)
    return shown.decode(errors="replace")


def test_on_a_terminal_a_no_leaves_everything(finished: Workshop) -> None:
    before = features(finished)

    shown = answer(finished, "y")

    assert "Type yes: " in shown
    assert "Nothing was removed" in shown
    assert features(finished) == before


def test_removed_features_are_not_missed_and_can_be_made_again(finished: Workshop) -> None:
    before = features(finished)
    page = finished.results / "report/index.html"
    pictures = page.read_text().count("data:image/png")

    shown = answer(finished, "yes")
    removed, idle = features(finished), finished.planned()
    verified = finished.cellvit("verify", "--configfile", "small.yaml")
    regraded = finished.ran(*NEW_GATE)
    pictures_without = page.read_text().count("data:image/png")
    finished.ran()
    made_again = finished.ran("--forcerun", "extract_features")
    (finished.results / "features/removed.txt").unlink()

    assert "Removed" in shown
    assert removed == set()
    assert not idle
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert set(regraded) == {"summarize/summary", "build_report/report"}
    assert pictures_without == pictures > 10
    assert made_again["extract_features/fold1"] == "computed", "the cache gave its copy back to the disk too"
    assert features(finished) == before
    assert not finished.planned()
