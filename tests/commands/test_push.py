"""The command `push`: the dry run lists and checks everything without a network; what the hub refuses has a fix."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import small_bundle
from huggingface_hub import constants
from pretend_hub import PretendHub, pretend_hub

from cellvit.__main__ import main
from cellvit.formats.bundle import CARD


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return small_bundle(tmp_path)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, as with HF_HUB_OFFLINE=1, which is read at the import."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("offline")
def test_a_dry_run_lists_repository_licence_and_files_without_a_network(bundle, capsys):
    code = main(["push", str(bundle), "lab/nuclei", "--private", "--dry-run"])

    text = capsys.readouterr().out
    assert code == 0
    assert "Repository: hf-hub:lab/nuclei (private)\n" in text
    assert "Licence:    Weights trained on PanNuke inherit CC BY-NC-SA 4.0 (non-commercial)." in text
    listed = re.findall(r"^ +[\d.]+ MB  ([\w.-]+)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in bundle.iterdir())
    assert f"MB  in {len(listed)} files\n" in text
    assert text.endswith("Dry run: nothing was uploaded.\n")


@pytest.mark.usefixtures("offline")
def test_a_dry_run_refuses_a_bundle_that_was_changed(bundle, capsys):
    (bundle / CARD).write_text("free for all uses")

    code = main(["push", str(bundle), "lab/nuclei", "--dry-run"])

    captured = capsys.readouterr()
    assert (code, captured.out) == (4, "")
    assert "error: " in captured.err
    assert "README.md: the file was changed after the bundle was made" in captured.err


def test_a_folder_that_is_no_bundle_and_a_wrong_name_are_refused(bundle, tmp_path, capsys):
    assert main(["push", str(tmp_path / "nothing"), "lab/nuclei", "--dry-run"]) == 3
    assert main(["push", str(bundle), "nuclei", "--dry-run"]) == 2

    errors = capsys.readouterr().err
    assert (
        "expected the folder of a bundle, which holds bundle.json, found no such folder. Fix: snakemake bundle"
        in errors
    )
    assert "'nuclei': expected the name of a repository of the Hugging Face hub, as owner/name" in errors


@pytest.mark.usefixtures("offline")
def test_an_upload_without_a_network_says_what_to_do(bundle, capsys):
    code = main(["push", str(bundle), "lab/nuclei"])

    error = capsys.readouterr().err
    assert code == 3
    assert "error: lab/nuclei: the bundle could not be uploaded: " in error
    assert "Fix: check the network, unset HF_HUB_OFFLINE, and log in" in error


def push(bundle: Path, hub: PretendHub, repository: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: the address of the hub is read at the import of its library."""
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_TOKEN": "hf_pretend", "PYTHONPATH": str(repository)}
    environment |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-m", "cellvit", "push", str(bundle), "lab/nuclei", *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_an_upload_replaces_the_files_of_an_earlier_bundle_and_keeps_others(bundle, repository):
    earlier = {"hovernet_urologic.safetensors": b"old", "watershed_urologic.json": b"{}", "config.json": b"{}"}
    with pretend_hub(PretendHub(dict(earlier))) as hub:
        done = push(bundle, hub, repository, "--private")

    assert done.returncode == 0, done.stderr
    assert hub.files == {"config.json": b"{}"} | {path.name: path.read_bytes() for path in bundle.iterdir()}
    assert [one["name"] for one in hub.created] == ["nuclei"]
    assert f"Uploaded: {hub.address}/lab/nuclei" in done.stdout


@pytest.mark.slow
def test_a_refused_upload_says_what_to_do(bundle, repository):
    with pretend_hub(PretendHub(refuses=401)) as hub:
        done = push(bundle, hub, repository)

    assert done.returncode == 3
    assert "error: lab/nuclei: the bundle could not be uploaded: " in done.stderr
    assert "log in with a token that may write to this repository: hf auth login" in done.stderr
    assert "Traceback" not in done.stderr
