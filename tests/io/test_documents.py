from pathlib import Path

import pytest

from cellvit.errors import ContractError, IntegrityError
from cellvit.formats.documents import own_digest, parse_document, read_document, write_document
from cellvit.formats.features import FeatureCheck
from cellvit.formats.provenance import Provenance


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "check.json"
    origin = Provenance(made_from={"tiles": "ab" * 32})
    write_document(path, FeatureCheck(provenance=origin, fold_id="fold1", n_tiles=3, cls_std=float("nan"), checks=()))
    return path


def test_a_document_carries_the_hash_of_itself(path: Path) -> None:
    carried, actual = own_digest(path)

    assert carried == actual
    assert len(carried) == 64


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param('"n_tiles": 3', '"n_tiles": 4', id="a_value"),
        pytest.param("\n ", "\n  ", id="only_its_layout"),
        pytest.param("\n", "\r\n", id="only_its_ends_of_lines"),
        pytest.param('"sha256": "', '"sha256": "0', id="the_hash_itself"),
    ],
)
def test_a_document_that_was_changed_no_longer_agrees_with_its_hash(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text

    path.write_bytes(text.replace(before, after).encode())

    assert own_digest(path).carried != own_digest(path).actual
    assert parse_document(path, FeatureCheck).format == "cellvit-feature-check"
    with pytest.raises(IntegrityError, match=rf"{path}: was changed after it was written(.|\n)*rm {path} && snakemake"):
        read_document(path, FeatureCheck)


def test_a_document_without_a_hash_carries_none(path: Path) -> None:
    text = path.read_text()

    path.write_text(text[: text.index(',\n "sha256"')] + "\n}\n")

    assert own_digest(path).carried == ""
    assert parse_document(path, FeatureCheck).n_tiles == 3
    with pytest.raises(IntegrityError, match="expected one, and it has none"):
        read_document(path, FeatureCheck)


def test_the_hash_is_no_part_of_what_a_document_says(path: Path) -> None:
    document = read_document(path, FeatureCheck)

    write_document(path, document)

    assert read_document(path, FeatureCheck).model_dump_json() == document.model_dump_json()


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"format": "cellvit-feature-check"}', "\N{SNOWMAN}"])
def test_what_is_no_document_is_refused_with_the_remedy(path: Path, text: str) -> None:
    path.write_text(text)

    with pytest.raises(ContractError, match=rf"is no FeatureCheck(.|\n)*rm {path} && snakemake -- {path}"):
        read_document(path, FeatureCheck)
