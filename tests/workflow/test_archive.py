"""A finished run is put aside, and its features are removed and made again."""

import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from damaging import verify
from workshop import Workshop

from cellvit.config.settings import load_settings

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

NEW_GATE = ("--config", "gates={'quality': {'aji': {'pass': 0.61}}}")
MAKE_AGAIN = ("--forcerun", "extract_features", "gather_family")


def features(workshop: Workshop) -> set[str]:
    """Names of all features that are there, in every form."""
    found = [*workshop.results.glob("features/**/*.h5"), *workshop.results.glob("families/*/features.h5")]
    return {str(path.relative_to(workshop.results)) for path in found}


def archives(workshop: Workshop) -> list[Path]:
    return sorted((workshop.results / "archive").glob("[0-9]*"))


@pytest.fixture
def archive(finished: Workshop) -> Iterator[Path]:
    """The archive of the finished run, which is removed at the end."""
    done = finished.snakemake("archive")
    assert done.returncode == 0, done.stderr[-4000:]
    (made,) = archives(finished)
    yield made
    subprocess.run(["rm", "-r", str(made.parent)], check=True)


def test_an_archive_holds_what_the_manifest_says(archive: Path) -> None:
    checked = subprocess.run(
        ["sha256sum", "--strict", "-c", "MANIFEST.sha256"], cwd=archive, capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout
    listed = {line.partition(": ")[0] for line in checked.stdout.splitlines()}
    assert {
        "README.txt",
        "settings.yaml",
        "summary.csv",
        "summary.txt",
        "report/index.html",
        "checkpoints/split1/hovernet_all.safetensors",
        "checkpoints/split1/organ_head.safetensors",
        "watershed/split1/digestive.json",
        "evaluation/split1/routed.json",
        "evaluation/split1/digestive_tiles.csv",
    } <= listed
    there = {str(path.relative_to(archive)) for path in archive.rglob("*") if path.is_file()}
    assert there == listed | {"MANIFEST.sha256"}


def test_an_archive_says_what_it_is_and_how_it_was_made(finished: Workshop, archive: Path) -> None:
    text = (archive / "README.txt").read_text()

    assert "simulated data, untrained encoder" in text
    assert "cellvit-optimus 0" in text
    resolved = yaml.safe_load((archive / "settings.yaml").read_text())
    assert load_settings(resolved).training.epochs == 2
    assert load_settings(resolved).data.root == "raw"


def test_the_same_content_on_the_same_day_is_not_archived_twice(finished: Workshop, archive: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in archive.rglob("*")}

    again = finished.snakemake("archive")

    assert archives(finished) == [archive]
    assert {path: path.stat().st_mtime_ns for path in archive.rglob("*")} == before
    assert f"results/archive/{archive.name} has the same content already" in again.stdout + again.stderr
    assert not finished.planned(), "no product of the run depends on it"


def test_other_content_gets_a_folder_of_its_own(finished: Workshop, archive: Path) -> None:
    done = finished.snakemake("--cores", "2", *NEW_GATE, "--", "archive")
    finished.ran()  # back to the settings of the workshop

    assert done.returncode == 0, done.stderr[-4000:]
    assert len(archives(finished)) == 2
    assert archive in archives(finished)


def test_an_archive_that_was_changed_is_never_overwritten(finished: Workshop, archive: Path) -> None:
    (archive / "summary.csv").write_text("better\n")

    done = finished.snakemake("archive")

    assert done.returncode != 0
    assert f"mv results/archive/{archive.name}" in done.stdout + done.stderr
    assert (archive / "summary.csv").read_text() == "better\n"


@pytest.mark.parametrize("name", ["report/index.html", "checkpoints/split1/hovernet_digestive.safetensors"])
def test_what_was_changed_by_hand_is_not_archived(finished: Workshop, name: str) -> None:
    path = finished.results / name
    original, times = path.read_bytes(), path.stat()
    path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    done = finished.snakemake("archive")
    path.write_bytes(original)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert done.returncode != 0
    assert f"{name}: was changed after it was written" in done.stdout + done.stderr
    assert f"rm results/{name} && snakemake -- results/{name}" in done.stdout + done.stderr
    assert archives(finished) == []


def test_without_a_yes_features_are_listed_and_stay(finished: Workshop) -> None:
    before = features(finished)

    done = finished.snakemake("clean_features")

    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert features(finished) == before
    assert all(f"results/{name}" in said for name in before)
    assert "MB  results/features/fold1.h5" in said
    assert "snakemake clean_features --config clean=yes" in said


def answer(workshop: Workshop, text: str) -> str:
    """Run clean_features on a terminal of its own and answer its question; everything that it showed."""
    command = ["snakemake", "--configfile", "small.yaml", "--workflow-profile", "profiles/default", "clean_features"]
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


def test_removed_features_are_missed_by_nothing_and_can_be_made_again(finished: Workshop) -> None:
    before = features(finished) - {f"features/.kept/fold{fold}.h5" for fold in (1, 2, 3)}
    page = finished.results / "report/index.html"
    pictures = page.read_text().count("data:image/png")

    done = finished.snakemake("clean_features", "--config", "clean=yes")
    removed, idle, verdict = features(finished), finished.planned(), verify(finished)
    regraded = finished.ran(*NEW_GATE)
    pictures_without = page.read_text().count("data:image/png")
    finished.ran()
    made_again = finished.ran(*MAKE_AGAIN)

    assert done.returncode == 0, done.stderr[-4000:]
    assert removed == set()
    assert not idle
    assert verdict.code == 0, verdict.message
    assert verdict.states["features/fold1.h5"] == verdict.states["families/all/features.h5"] == "removed"
    assert verdict.states["families/all/targets.h5"] == "ok"
    assert regraded == {"summarize/summary", "build_report/report"}
    assert pictures_without == pictures > 10
    assert {job.split("/")[0] for job in made_again} == {"extract_features", "gather_family"}
    assert before <= features(finished)
    assert verify(finished).code == 0
    assert not finished.planned()


def test_on_a_terminal_a_yes_removes_them(finished: Workshop) -> None:
    shown = answer(finished, "yes")
    gone = features(finished)
    finished.ran(*MAKE_AGAIN)

    assert "Removed" in shown
    assert gone == set()
    assert features(finished) != set()
