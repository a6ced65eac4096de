import stat

import pytest
import torch

from cellvit.errors import AbsentModelError, ContractError, IntegrityError, MissingInputError
from cellvit.formats.checkpoints import (
    CheckpointHeader,
    checkpoint_digest,
    read_checkpoint,
    read_header,
    write_checkpoint,
)
from cellvit.formats.provenance import Provenance


def header(**changes):
    fields = {"kind": "hovernet", "split": "1", "family": "digestive", "status": "trained", "mpp": 0.25, **changes}
    return CheckpointHeader(provenance=Provenance(made_from={"tiles": "0" * 64}), **fields)


def test_header_and_weights_come_back(tmp_path):
    path = tmp_path / "a.safetensors"
    weights = {"b": torch.arange(6.0).reshape(2, 3).T, "a": torch.tensor([1], dtype=torch.int64)}

    write_checkpoint(path, header(metrics={"bpq": 0.5}), weights)

    found, loaded = read_checkpoint(path)
    assert found.model_copy(update={"sha256": ""}) == header(metrics={"bpq": 0.5})
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def test_equal_weights_give_equal_bytes(tmp_path):
    weights = {name: torch.ones(3) for name in "abcdefgh"}
    for name in ("one", "two"):
        write_checkpoint(tmp_path / name, header(), dict(reversed(weights.items())) if name == "two" else weights)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_checkpoint_carries_the_hash_of_itself(tmp_path):
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, header(metrics={"bpq": 0.5, "hv_mse": float("nan")}), {"a": torch.ones(3)})

    carried, actual = checkpoint_digest(path)

    assert carried == actual
    assert len(carried) == 64


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(b"\x00\x00\x80\x3f", b"\x00\x00\x81\x3f", id="a_weight"),
        pytest.param(b'bpq\\":0.5', b'bpq\\":0.9', id="a_figure"),
    ],
)
def test_a_checkpoint_that_was_changed_no_longer_agrees_with_its_hash(tmp_path, before, after):
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, header(metrics={"bpq": 0.5}), {"a": torch.ones(3)})
    content = path.read_bytes()
    assert before in content

    path.write_bytes(content.replace(before, after, 1))

    carried, actual = checkpoint_digest(path)
    assert carried != actual
    with pytest.raises(IntegrityError, match=rf"{path}: was changed after it was written"):
        read_checkpoint(path)


def test_a_checkpoint_is_as_readable_as_any_other_file(tmp_path):
    (tmp_path / "plain").touch()
    write_checkpoint(tmp_path / "a.safetensors", header(), {})

    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "a.safetensors")]

    assert modes[0] == modes[1]


def test_an_absent_model_is_refused_with_its_reason(tmp_path):
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, header(status="absent", reason="no tiles in training fold 1"), {})

    assert read_header(path).status == "absent"
    with pytest.raises(AbsentModelError, match="no tiles in training fold 1"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
def test_other_files_are_refused_with_the_remedy(tmp_path, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)

    with pytest.raises(ContractError, match="is no checkpoint of cellvit-optimus"):
        read_header(path)


def test_a_missing_checkpoint_says_how_to_make_it(tmp_path):
    with pytest.raises(MissingInputError, match="snakemake -- "):
        read_header(tmp_path / "none.safetensors")
