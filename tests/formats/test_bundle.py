"""Bundles: a folder that is written whole, and read only if every part of it belongs to it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import ENCODER, WEIGHTS_SHA256, small_bundle, write_parts

from cellvit.errors import CellvitError, ContractError, IntegrityError, MissingInputError
from cellvit.formats.bundle import BUNDLE, CARD, BundleDocument, read_bundle, write_bundle
from cellvit.formats.checkpoints import CheckpointHeader, read_checkpoint, write_checkpoint
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import read_document, write_document
from cellvit.formats.watershed import WatershedChoice

FIX = "Fix: copy the whole folder again from where it was made, or make the bundle again: snakemake bundle"

Tamper = Callable[[Path], None]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return small_bundle(tmp_path / "run")


def rewrite(folder: Path, **changes: Any) -> None:
    """Change entries of the document, as someone would who also corrects its digest."""
    document = read_document(folder / BUNDLE, BundleDocument)
    fields = document.model_dump() | changes
    write_document(folder / BUNDLE, BundleDocument.model_validate(fields))


def relist(folder: Path) -> None:
    """List the files as they are now."""
    rewrite(folder, files={path.name: sha256_of(path) for path in folder.iterdir() if path.name != BUNDLE})


def change_header(folder: Path, name: str, **changes: Any) -> None:
    header, weights = read_checkpoint(folder / name)
    write_checkpoint(folder / name, CheckpointHeader.model_validate(header.model_dump() | changes), weights)
    relist(folder)


def change_choice(folder: Path, **changes: Any) -> None:
    path = folder / "watershed_digestive.json"
    fields = read_document(path, WatershedChoice).model_dump() | changes
    write_document(path, WatershedChoice.model_validate(fields))
    relist(folder)


def swap(folder: Path, name: str, other: str) -> None:
    shutil.copyfile(folder / other, folder / name)
    relist(folder)


def test_a_bundle_is_read_as_it_was_written(bundle):
    found = read_bundle(bundle)

    assert list(found.decoders) == ["digestive", "all"]
    assert found.decoders["digestive"].checkpoint == bundle / "hovernet_digestive.safetensors"
    assert found.decoders["digestive"].watershed.parameters["np_threshold"] == 0.5
    assert found.decoders["all"].calibration.temperature == 1.5
    assert (found.organ_head, found.novelty) == (bundle / "organ_head.safetensors", bundle / "novelty.safetensors")
    assert found.document.dataset == PANNUKE
    assert found.document.encoder == ENCODER
    assert found.document.encoder_sha256 == WEIGHTS_SHA256


def test_a_copy_elsewhere_has_the_same_digest(bundle, tmp_path):
    copy = shutil.copytree(bundle, tmp_path / "of a colleague")

    assert read_bundle(copy).digest == read_bundle(bundle).digest


def test_files_of_other_kinds_and_links_to_the_files_are_accepted(bundle, tmp_path):
    (bundle / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    blob = tmp_path / "blob"
    (bundle / "hovernet_all.safetensors").rename(blob)
    (bundle / "hovernet_all.safetensors").symlink_to(blob)  # as in the cache of the hub

    assert "all" in read_bundle(bundle).decoders


@pytest.mark.parametrize(
    ("tamper", "kind", "message"),
    [
        pytest.param(
            lambda folder: shutil.rmtree(folder),
            MissingInputError,
            "found no such folder. Fix: snakemake bundle",
            id="no_folder",
        ),
        pytest.param(
            lambda folder: (folder / BUNDLE).unlink(),
            MissingInputError,
            "found a folder without it. Fix: snakemake bundle",
            id="no_document",
        ),
        pytest.param(
            lambda folder: (folder / BUNDLE).write_text("{"),
            ContractError,
            "this is not a BundleDocument",
            id="not_json",
        ),
        pytest.param(
            lambda folder: rewrite(folder, version=9), ContractError, "expected version 1, found 9", id="version"
        ),
        pytest.param(
            lambda folder: (folder / BUNDLE).write_text(
                (folder / BUNDLE).read_text().replace("cellvit-bundle", "other")
            ),
            ContractError,
            "Input should be 'cellvit-bundle'",
            id="format",
        ),
        pytest.param(
            lambda folder: (folder / BUNDLE).write_text(
                (folder / BUNDLE).read_text().replace("PanNuke, s", "PanNuke, S")
            ),
            IntegrityError,
            "bundle.json: the file was changed after it was written",
            id="document_edited",
        ),
        pytest.param(
            lambda folder: (folder / "hovernet_all.safetensors").unlink(),
            MissingInputError,
            "hovernet_all.safetensors: the bundle lists this file, but it does not exist",
            id="file_missing",
        ),
        pytest.param(
            lambda folder: (folder / CARD).write_text("free for all uses"),
            IntegrityError,
            "README.md: the file was changed after the bundle was made",
            id="card_edited",
        ),
        pytest.param(
            lambda folder: rewrite(folder, files={"../secret.json": "0"}),
            ContractError,
            "files: expected names of parts of a bundle, found '../secret.json'",
            id="path_outside",
        ),
        pytest.param(
            lambda folder: rewrite(folder, files={"weights.pkl": "0"}),
            ContractError,
            "found 'weights.pkl'",
            id="unknown_kind_of_file",
        ),
        pytest.param(
            lambda folder: rewrite(folder, provenance={}),
            ContractError,
            "provenance.data_set: expected the data set of the models, found none",
            id="no_data_set",
        ),
        pytest.param(
            lambda folder: rewrite(folder, default_decoder="urologic"),
            ContractError,
            "default_decoder: expected one of ['all', 'digestive'], found urologic",
            id="default_decoder_unknown",
        ),
        pytest.param(
            lambda folder: rewrite(folder, decoder_of={"Skin": "epidermal"}),
            ContractError,
            "decoder_of: expected one of ['all', 'digestive'], found epidermal",
            id="organ_of_an_absent_decoder",
        ),
        pytest.param(
            lambda folder: rewrite(folder, decoder_of={"Brain": "all"}),
            ContractError,
            "expected organs of PanNuke, found Brain",
            id="organ_unknown",
        ),
        pytest.param(
            lambda folder: rewrite(folder, encoder={"encoder": {"preset": "unheard-of"}}),
            ContractError,
            "encoder: expected settings of an encoder",
            id="encoder_cannot_be_read",
        ),
        pytest.param(
            lambda folder: rewrite(
                folder, decoders={"urologic": ("Kidney",)}, decoder_of={}, default_decoder="urologic"
            ),
            ContractError,
            "files: expected hovernet_urologic.safetensors of decoder urologic, found none",
            id="decoder_without_files",
        ),
        pytest.param(
            lambda folder: rewrite(folder, decoders={"all": ("Colon",)}, decoder_of={}),
            ContractError,
            "hovernet_digestive.safetensors: status: expected absent, as the bundle says, found trained",
            id="trained_decoder_that_is_not_offered",
        ),
        pytest.param(
            lambda folder: swap(folder, "hovernet_digestive.safetensors", "hovernet_all.safetensors"),
            ContractError,
            "hovernet_digestive.safetensors: family: expected digestive, as the bundle says, found all",
            id="decoder_of_another_family",
        ),
        pytest.param(
            lambda folder: change_header(folder, "hovernet_all.safetensors", split="2"),
            ContractError,
            "split: expected 1, as the bundle says, found 2",
            id="decoder_of_another_split",
        ),
        pytest.param(
            lambda folder: change_header(folder, "hovernet_all.safetensors", mpp=0.5),
            ContractError,
            "mpp: expected 0.25, as the bundle says, found 0.5",
            id="other_resolution",
        ),
        pytest.param(
            lambda folder: change_header(folder, "hovernet_all.safetensors", classes=("Background", "Cell")),
            ContractError,
            "classes: expected ('Background', 'Neoplastic'",
            id="other_classes",
        ),
        pytest.param(
            lambda folder: change_header(folder, "hovernet_all.safetensors", folds={"train": (1, 3), "validate": (2,)}),
            ContractError,
            "folds: expected {'train': (1,), 'validate': (2,)}, as the bundle says, found {'train': (1, 3)",
            id="other_folds",
        ),
        pytest.param(
            lambda folder: change_header(
                folder, "organ_head.safetensors", encoder=ENCODER | {"encoder": {"preset": "uni2-h"}}
            ),
            ContractError,
            "organ_head.safetensors: encoder: expected {'preset': 'h-optimus-0'",
            id="other_encoder",
        ),
        pytest.param(
            lambda folder: change_header(folder, "organ_head.safetensors", organs=("Colon", "Skin")),
            ContractError,
            "organs: expected ('Adrenal_gland'",
            id="organ_head_of_other_organs",
        ),
        pytest.param(
            lambda folder: change_choice(folder, family="all"),
            ContractError,
            "watershed_digestive.json: family: expected digestive, as the bundle says, found all",
            id="decoding_of_another_family",
        ),
        pytest.param(
            lambda folder: change_choice(folder, status="absent"),
            ContractError,
            "watershed_digestive.json: status: expected tuned or default, found absent",
            id="decoding_absent",
        ),
        pytest.param(
            lambda folder: change_header(folder, "hovernet_digestive.safetensors", step=41),
            ContractError,
            "expected hovernet_digestive.safetensors of this bundle",
            id="decoding_of_another_training",
        ),
        pytest.param(
            lambda folder: swap(folder, "calibration_digestive.json", "calibration_all.json"),
            ContractError,
            "calibration_digestive.json: family: expected digestive, as the bundle says, found all",
            id="calibration_of_another_family",
        ),
        pytest.param(
            lambda folder: swap(folder, "novelty.safetensors", "hovernet_all.safetensors"),
            ContractError,
            "novelty.safetensors: this is not a novelty model",
            id="novelty_is_something_else",
        ),
    ],
)
def test_each_violation_has_an_error_with_its_fix(bundle: Path, tamper: Tamper, kind: type[CellvitError], message: str):
    tamper(bundle)

    with pytest.raises(kind) as caught:
        read_bundle(bundle)

    assert message in str(caught.value)
    assert str(caught.value).count("Fix: ") == 1
    assert kind is MissingInputError or FIX in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "hovernet_urologic.safetensors"])
def test_a_file_that_is_not_listed_is_refused(bundle, name):
    (bundle / name).write_text("{}")

    with pytest.raises(ContractError, match=rf"found also {name}. Fix: move them to another folder"):
        read_bundle(bundle)


@pytest.mark.parametrize("argument", ["checkpoint_path", "pretrained_cfg_overlay", "pretrained"])
def test_an_encoder_that_would_load_files_of_its_choice_is_refused(bundle, argument):
    custom = {
        "name": "vit_tiny_patch16_224",
        "architecture": "vit_tiny_patch16_224",
        "arguments": {argument: "/tmp/evil.pth"},
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "depth": 4,
        "dim": 96,
        "patch_px": 16,
        "cls_std": (0.1, 5.0),
    }
    rewrite(bundle, encoder=ENCODER | {"encoder": {"preset": "custom", "custom": custom}})

    with pytest.raises(ContractError, match=rf"encoder.custom.arguments: must not have {argument}"):
        read_bundle(bundle)


def test_files_that_do_not_belong_together_are_not_written_and_the_earlier_bundle_stays(tmp_path):
    folder = small_bundle(tmp_path / "run")
    before = read_bundle(folder)
    other = write_parts(tmp_path / "other", split="2")
    sources = {
        f"hovernet_{family}.safetensors": other.checkpoints[number]
        for number, family in enumerate(("digestive", "", "all"))
        if family
    }
    sources |= {path.name: path for path in folder.iterdir() if path.name.startswith("watershed")}

    with pytest.raises(ContractError, match="split: expected 1, as the bundle says, found 2"):
        write_bundle(folder, before.document, sources, "card")

    assert read_bundle(folder).digest == before.digest
    assert [path.name for path in folder.parent.iterdir()] == ["split1"]


def test_a_bundle_replaces_the_earlier_one_as_a_whole(tmp_path):
    folder = small_bundle(tmp_path)
    (folder / "hovernet_urologic.safetensors").write_bytes(b"of an earlier run")
    killed = folder.parent / f".split1.{os.getpid() + 1}.part"
    killed.mkdir()

    small_bundle(tmp_path)

    assert "hovernet_urologic.safetensors" not in {path.name for path in folder.iterdir()}
    assert [path.name for path in folder.parent.iterdir()] == ["split1"]
    assert read_bundle(folder).document.name == "PanNuke, split 1"


def test_equal_models_give_equal_bundles(tmp_path):
    one, other = small_bundle(tmp_path / "one"), small_bundle(tmp_path / "other")

    assert {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in other.iterdir()
    }


def test_undefined_numbers_are_valid_json(bundle):
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    read = [json.loads(path.read_text(), parse_constant=refuse) for path in bundle.glob("*.json")]

    assert {document["format"] for document in read} >= {"cellvit-bundle", "cellvit-watershed", "cellvit-calibration"}
