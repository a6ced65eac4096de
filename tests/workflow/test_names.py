"""One name a step: rule, stage, subcommand, log folder, timings folder."""

import re
import subprocess
import sys

import pytest

from cellvit.config import steps

NOT_CACHED = {"archive", "clean_features", "gather_bundle", "predict_image", "index_predictions"}
"""Steps that act each time they are asked for, one that copies files, as the cache would, and predictions, which know by
themselves what is finished."""


def shell_of(body):
    """The shell line of a rule, its parts joined."""
    return "".join(re.findall(r'"(.*)"', body[body.index("    shell:") :]))


@pytest.fixture(scope="module")
def rules(repository):
    """Text of every rule by name; the final models have no rules of their own (`use rule`)."""
    paths = [path for path in sorted((repository / "rules").glob("*.smk")) if path.name != "final.smk"]
    text = "\n".join(path.read_text() for path in paths)
    parts = re.split(r"^ *rule (\w+):\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_stage_has_a_rule_and_every_rule_a_stage(repository, rules):
    stages = {path.stem for path in (repository / "cellvit" / "stages").glob("[a-z]*.py")}

    assert set(rules) == stages


def test_every_rule_has_the_same_anatomy(rules):
    for name, body in rules.items():
        for directive in ("log", "conda", "threads", "resources", "params", "message", "shell"):
            assert re.search(rf"^ +{directive}:", body, re.MULTILINE), f"{name} has no {directive}:"
        assert f'"<results>/logs/{name}/' in body, name
        assert not re.search(r"[{](?!input|output|params|resources|wildcards|log|threads)", shell_of(body)), name
        if name in NOT_CACHED:
            continue
        assert re.search(rf'timing="<results>/timings/{name}/', body), name
        assert f'code=code("{name}")' in body, name
        assert "--cache {resources.cache:q} --cache-gb {resources.cache_gb}" in shell_of(body), name
        assert f"python -m cellvit {name} " in body, name
        assert "mem_mb=" in body, name
        assert "runtime=" in body, name
        assert "retries:" not in body, f"{name}: retries multiply on SLURM; they belong in a profile"


def test_every_rule_that_computes_on_the_device_asks_for_a_gpu(rules):
    for name, body in rules.items():
        assert (
            ("--device {resources.device}" in shell_of(body))
            == ("gpu=1" in body)
            == ('"../envs/gpu.yaml"' in body and "gpu=1" in body)
        ), name


def test_every_step_with_settings_passes_its_own(rules):
    for name, body in rules.items():
        assert (f'settings=settings("{name}")' in body) == (name in steps._SECTIONS), name


def test_help_names_every_step(repository, rules):
    done = subprocess.run(
        [sys.executable, "-m", "cellvit", "--help"], cwd=repository, capture_output=True, text=True, check=True
    )

    assert all(name in done.stdout for name in rules)


@pytest.mark.parametrize("name", ["doctor", "verify", "settings", "gather_families", "train_hovernet"])
def test_commands_and_steps_have_help(name, repository):
    done = subprocess.run(
        [sys.executable, "-m", "cellvit", name, "--help"], cwd=repository, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "--" in done.stdout
