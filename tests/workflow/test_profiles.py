"""Every profile plans the same graph; what they say of rules is said of rules that there are."""

import argparse
import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

from cellvit.config.files import given_settings

PROFILES = sorted(path.parent.name for path in Path(__file__).parents[2].glob("profiles/*/config.yaml"))

SETTINGS = """\
data: {root: null, simulated: {tiles_per_fold: 38}}
encoder: {preset: tiny-vit, weights: random}
"""


def test_the_settings_of_every_profile_are_valid(repository):
    found = sorted(repository.glob("profiles/*/settings.yaml"))

    results = {}
    for path in found:
        arguments = argparse.Namespace(base=repository / "config.yaml", configfile=[path], config=[])
        results[path.parent.name] = given_settings(arguments).results

    assert results == {name: f"results/{name}" for name in ("demo", "demo_own", "real_tiles", "real_tiles_by_source")}


@pytest.fixture
def profile(repository):
    """What a profile says, by its name."""
    return lambda name: yaml.safe_load((repository / "profiles" / name / "config.yaml").read_text())


@pytest.fixture(scope="module")
def rules(repository):
    """Text of every rule by name."""
    text = "\n".join(path.read_text() for path in sorted((repository / "rules").glob("*.smk")))
    parts = re.split(r"^ *rule (\w+):\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_there_is_a_profile_for_every_place():
    assert {"default", "demo", "real_tiles", "slurm", "workstation"} <= set(PROFILES)


@pytest.fixture(scope="module")
def planned(repository, tmp_path_factory):
    """Jobs by rule that a dry run of the official protocol would start with a profile, on simulated folds."""

    @cache
    def plan(name):
        home = tmp_path_factory.mktemp(name)
        (home / "small.yaml").write_text(SETTINGS)
        said = yaml.safe_load((repository / "profiles" / name / "config.yaml").read_text())
        said.pop("logger", None)  # the table of jobs is read below as Snakemake's own logger writes it
        (home / "profile").mkdir()
        (home / "profile/config.yaml").write_text(yaml.safe_dump(said))
        (home / "profiles").symlink_to(repository / "profiles")
        places = ["--snakefile", repository / "Snakefile", "--workflow-profile", "profile"]
        done = subprocess.run(
            ["snakemake", *places, "--configfile", "small.yaml", "--dry-run"],
            cwd=home,
            env={**os.environ, "PYTHONPATH": str(repository)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        table = re.search(r"^job +count\n[- ]+\n(.*?)^total", done.stdout + done.stderr, re.MULTILINE | re.DOTALL)
        return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table.group(1), re.MULTILINE)}

    return plan


@pytest.mark.workflow
@pytest.mark.slow
@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_plans_the_same_graph(name, planned):
    assert planned(name) == planned("default")
    assert planned(name)["prepare_fold"] == 3


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_name_only_rules_that_there_are(name, profile, rules):
    named = {step for key in ("set-threads", "set-resources") for step in profile(name).get(key, {})}

    assert named <= set(rules)


def test_on_slurm_exactly_the_gpu_steps_go_to_the_gpu_partition(profile, rules):
    sent = {step for step, asked in profile("slurm")["set-resources"].items() if asked["slurm_partition"] == "gpu"}

    assert sent == {step for step, body in rules.items() if "gpu=1" in body}


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_has_the_triggers_of_snakemake_and_runs_unfinished_jobs_again(name, profile):
    assert "rerun-triggers" not in profile(name)
    assert profile(name)["rerun-incomplete"] is True
