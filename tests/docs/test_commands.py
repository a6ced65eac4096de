"""Commands in README and documentation have the options, targets and settings that they name; nothing is run."""

import argparse
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from cellvit.config.files import add_settings_arguments, given_settings

BLOCK = re.compile(r"```(?:bash|sh)?\n(.*?)```", re.DOTALL)
CELLVIT = ("python -m cellvit ", "cellvit ", ".venv/bin/cellvit ")


def commands(repository: Path, *starts: str) -> Iterator[tuple[str, list[str]]]:
    """Page and words of each command in the code blocks that begins with one of these, without its comment."""
    for page in [repository / "README.md", *sorted((repository / "docs").glob("*.md"))]:
        for block in BLOCK.findall(page.read_text()):
            for line in block.replace("\\\n", " ").splitlines():
                start = next((start for start in starts if line.strip().startswith(start)), None)
                if start:
                    yield page.name, shlex.split(line.strip().removeprefix(start), comments=True)


def fault(page: str, words: list[str], parser: argparse.ArgumentParser) -> str:
    try:
        parser.parse_args(words)
    except SystemExit:
        return f"{page}: {shlex.join(words)}"
    return ""


def test_options_of_cellvit_exist(repository: Path) -> None:
    tried, faults = 0, []
    for page, (name, *words) in commands(repository, *CELLVIT):
        if name.startswith("-") or "--help" in words:
            continue
        parser = argparse.ArgumentParser()
        importlib.import_module(f"cellvit.commands.{name}").add_arguments(parser)
        faults.append(fault(page, words, parser))
        tried += 1

    assert tried > 30
    assert [line for line in faults if line] == []


def test_targets_of_make_exist(repository: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    named = {(page, word) for page, words in commands(repository, "make ") for word in words if "=" not in word}

    assert len(named) > 5
    assert sorted(f"{page}: make {word}" for page, word in named if word not in targets) == []


def test_settings_after_config_are_valid(repository: Path) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("targets", nargs="*")
    add_settings_arguments(parser)
    tried = 0
    for _, words in commands(repository, "snakemake "):
        if "--config" not in words or {"--configfile", "clean=yes"} & set(words):
            continue  # with the settings of another file, or an option of the step clean_features
        given = [word for word in words[words.index("--config") + 1 :] if re.match(r"\w+=", word)]
        given_settings(parser.parse_args(["--base", str(repository / "config.yaml"), "--config", *given]))
        tried += 1

    assert tried > 7


def test_profiles_exist(repository: Path) -> None:
    named = {
        (page, words[words.index("--workflow-profile") + 1])
        for page, words in commands(repository, "snakemake ")
        if "--workflow-profile" in words
    }

    assert len(named) > 3
    assert sorted(f"{page}: {name}" for page, name in named if not (repository / name / "config.yaml").is_file()) == []


def test_an_option_that_does_not_exist_is_found() -> None:
    with pytest.raises(SystemExit):
        argparse.ArgumentParser().parse_args(["--nothing"])

    assert fault("page.md", ["--nothing"], argparse.ArgumentParser()) == "page.md: --nothing"
