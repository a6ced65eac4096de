"""Documents: read as written, refused where they were changed or are something else."""

import subprocess
from pathlib import Path

import pytest

from cellvit.errors import ContractError, IntegrityError
from cellvit.formats.content import content_of
from cellvit.formats.documents import document_digest, read_document, write_document
from cellvit.formats.features import FeatureCheck
from cellvit.formats.provenance import Provenance


def check(**provenance: object) -> FeatureCheck:
    origin = Provenance(**{"made_from": {"tiles": "ab" * 32}, **provenance})
    return FeatureCheck(provenance=origin, fold_id="fold1", n_tiles=3, cls_std=float("nan"), checks=())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_document(tmp_path / "check.json", check())
    return tmp_path / "check.json"


def test_a_document_comes_back_and_records_the_digest_of_itself(path: Path) -> None:
    recorded, actual = document_digest(path)

    assert recorded == actual
    assert read_document(path, FeatureCheck).model_dump_json() == check().model_dump_json()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param('"n_tiles": 3', '"n_tiles": 4', id="a_value"),
        pytest.param("\n ", "\n  ", id="only_its_layout"),
        pytest.param('"sha256": "', '"sha256": "0', id="the_digest_itself"),
    ],
)
def test_a_document_that_was_changed_is_refused(path: Path, before: str, after: str) -> None:
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))

    with pytest.raises(
        IntegrityError, match=rf"{path}: the file was changed after it was written(.|\n)*Fix: rm {path}"
    ):
        read_document(path, FeatureCheck)


def test_a_document_without_a_digest_is_refused(path: Path) -> None:
    text = path.read_text()
    path.write_text(text[: text.index(',\n "sha256"')] + "\n}\n")

    with pytest.raises(IntegrityError, match="expected one, but the file records none"):
        read_document(path, FeatureCheck)


@pytest.mark.parametrize("name", ["my results", "it's $HOME", "(1) `a`;b", "tile*\t#é"])
def test_the_fix_of_a_damaged_document_removes_this_file_alone_in_any_shell(tmp_path: Path, name: str) -> None:
    damaged, beside = tmp_path / name / "check.json", tmp_path / name.split()[0]
    damaged.parent.mkdir()
    damaged.write_text("{")
    beside.exists() or beside.write_text("of somebody else")

    with pytest.raises(ContractError) as caught:
        read_document(damaged, FeatureCheck)
    command = str(caught.value).partition("Fix: ")[2]
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)

    assert not damaged.exists()
    assert beside.exists()


def test_content_leaves_provenance_out_but_for_its_marks(path: Path, tmp_path: Path) -> None:
    def content(**provenance: object) -> str:
        write_document(tmp_path / "other.json", check(**provenance))
        return content_of(tmp_path / "other.json").digest

    assert content_of(path).digest == content(made_from={}, settings={"seed": 1})
    assert content_of(path).digest != content(simulated=True)


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"format": "cellvit-feature-check"}', "\N{SNOWMAN}", "[" * 100_000])
def test_what_is_not_a_document_is_refused_with_the_fix(path: Path, text: str) -> None:
    path.write_text(text)

    with pytest.raises(
        ContractError,
        match=rf"this is not a FeatureCheck(.|\n)*Fix: rm {path}  # then run snakemake",
    ):
        read_document(path, FeatureCheck)
