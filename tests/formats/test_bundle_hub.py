"""Bundles on the Hugging Face hub: found in its cache without a network; every failure says what to do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import small_bundle
from huggingface_hub import constants

from cellvit.errors import MissingInputError, SettingsError
from cellvit.formats.bundle import read_bundle
from cellvit.formats.bundle_hub import bundle_folder, pull_bundle

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    """A cache of the hub with the bundle lab/nuclei in it, laid out as huggingface_hub does: blobs, and links to them."""
    repository = tmp_path / "hub" / "models--lab--nuclei"
    snapshot, blobs = repository / "snapshots" / COMMIT, repository / "blobs"
    for folder in (snapshot, blobs, repository / "refs"):
        folder.mkdir(parents=True)
    for path in small_bundle(tmp_path / "run").iterdir():
        shutil.copy(path, blobs / path.name)
        (snapshot / path.name).symlink_to(os.path.relpath(blobs / path.name, snapshot))
    for revision in ("main", "v1"):
        (repository / "refs" / revision).write_text(COMMIT)
    return tmp_path / "hub"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network and the cache in tmp_path, as with HF_HUB_OFFLINE=1 and HF_HUB_CACHE; both are read at the import."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["hf-hub:lab/nuclei", "hf-hub:lab/nuclei@v1", f"hf-hub:lab/nuclei@{COMMIT}"])
def test_a_bundle_in_the_cache_of_the_hub_is_found_offline(cached: Path, name: str) -> None:
    folder = pull_bundle(name)

    assert folder == cached / "models--lab--nuclei/snapshots" / COMMIT
    assert read_bundle(folder).document.name == "PanNuke, split 1"


def test_the_environment_of_the_hub_is_respected(cached: Path, repository: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cached), "PYTHONPATH": str(repository)}
    code = "from cellvit.formats.bundle_hub import pull_bundle; print(pull_bundle('hf-hub:lab/nuclei').name)"

    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)

    assert done.stdout.strip() == COMMIT, done.stderr


@pytest.mark.usefixtures("offline")
def test_a_bundle_that_is_nowhere_says_how_to_get_it_without_a_network() -> None:
    with pytest.raises(MissingInputError) as caught:
        pull_bundle("hf-hub:lab/other")

    message = str(caught.value)
    assert "hf-hub:lab/other: the bundle is not in the local cache of the Hugging Face hub" in message
    assert "HF_HUB_OFFLINE is set" in message
    assert "Fix: download it where there is a network (hf download lab/other)" in message


@pytest.mark.usefixtures("offline")
def test_another_revision_than_the_cached_one_is_not_taken_for_it(cached: Path) -> None:
    with pytest.raises(MissingInputError, match="not in the local cache"):
        pull_bundle("hf-hub:lab/nuclei@v2")


@pytest.mark.parametrize("name", ["hf-hub:nuclei", "hf-hub:a/b/c", "hf-hub:lab/nu clei", "hf-hub:lab/..", "hf-hub:"])
def test_what_is_no_name_of_a_repository_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="expected the name of a repository of the Hugging Face hub, as owner/name"):
        pull_bundle(name)


def test_a_path_is_a_folder_as_it_is(tmp_path: Path) -> None:
    assert bundle_folder(str(tmp_path)) == tmp_path
