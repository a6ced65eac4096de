"""What a training wrote gets into its place as it was written, or not at all."""

import re
from pathlib import Path

import pytest
import torch
from cellvit.formats.seals import read_seal, said_by_checkpoint

from cellvit.__main__ import main
from cellvit.formats.checkpoints import CheckpointHeader, read_header, write_checkpoint
from cellvit.formats.digests import sha256_of
from cellvit.formats.provenance import Provenance


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """Checkpoint and history of a finished training."""
    path, history = tmp_path / "training/a.safetensors", tmp_path / "training/a_history.csv"
    history.parent.mkdir()
    history.write_text("epoch\n0\n")
    tables = {"history": sha256_of(history)}
    header = CheckpointHeader(
        provenance=Provenance(),
        kind="hovernet",
        status="trained",
        split="1",
        family="digestive",
        mpp=0.25,
        tables=tables,
    )
    write_checkpoint(path, header, {"weight": torch.ones(3)})
    return path


def publish(trained: Path) -> int:
    place = trained.parents[1]
    history = trained.with_name("a_history.csv")
    given = ["--trained", str(trained), "--trained-history", str(history), "--seal", str(place / "seal.json")]
    return main(
        [
            "publish_checkpoint",
            *given,
            "--checkpoint",
            str(place / trained.name),
            "--history",
            str(place / history.name),
        ]
    )


def test_both_files_are_copied_and_the_checkpoint_is_sealed(trained: Path) -> None:
    assert publish(trained) == 0

    place = trained.parents[1]
    for name in (trained.name, "a_history.csv"):
        assert (place / name).read_bytes() == (trained.parent / name).read_bytes()
    assert read_seal(place / "seal.json") == said_by_checkpoint(trained, read_header(trained))


@pytest.mark.parametrize("name", ["a.safetensors", "a_history.csv"])
def test_what_was_changed_since_the_training_never_takes_the_place_of_a_checkpoint(
    trained: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained.with_name(name)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    assert publish(trained) == 1

    assert re.search(rf"{path}: (was changed after|is not the table)", capsys.readouterr().err)
    assert not (trained.parents[1] / name).exists()
