"""Checkpoints: header and weights come back, equal content gives equal bytes, and changes are noticed."""

import stat

import numpy as np
import pytest

from cellvit.errors import AbsentModelError, ContractError, IntegrityError, MissingInputError
from cellvit.formats.checkpoints import (
    CheckpointHeader,
    checkpoint_digest,
    read_checkpoint,
    read_header,
    write_checkpoint,
)
from cellvit.formats.content import content_of
from cellvit.formats.provenance import Provenance

OWN = {"sha256": "", "weights_sha256": ""}


def header(**changes):
    fields = {"kind": "hovernet", "split": "1", "family": "digestive", "status": "trained", "mpp": 0.25, **changes}
    return CheckpointHeader(provenance=Provenance(made_from={"tiles": "0" * 64}), **fields)


def test_header_and_weights_come_back(tmp_path):
    path = tmp_path / "a.safetensors"
    weights = {"b": np.arange(6.0, dtype=np.float32).reshape(2, 3).T, "a": np.array([1])}

    write_checkpoint(path, header(metrics={"bpq": 0.5}), weights)

    found, loaded = read_checkpoint(path)
    assert found.model_copy(update=OWN) == header(metrics={"bpq": 0.5})
    for name, values in weights.items():
        np.testing.assert_array_equal(loaded[name], values)


def test_equal_weights_give_equal_bytes_that_are_as_readable_as_any_other_file(tmp_path):
    (tmp_path / "plain").touch()
    weights = {name: np.ones(3, np.float32) for name in "abcdefgh"}
    write_checkpoint(tmp_path / "one", header(), weights)
    write_checkpoint(tmp_path / "two", header(), dict(reversed(weights.items())))

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert len({stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "one")}) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(b"\x00\x00\x80\x3f", b"\x00\x00\x81\x3f", id="a_weight"),
        pytest.param(b'bpq\\":0.5', b'bpq\\":0.9', id="a_metric"),
    ],
)
def test_a_checkpoint_that_was_changed_is_refused(tmp_path, before, after):
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, header(metrics={"bpq": 0.5, "hv_mse": float("nan")}), {"a": np.ones(3, np.float32)})
    unchanged = checkpoint_digest(path)
    assert before in path.read_bytes()

    path.write_bytes(path.read_bytes().replace(before, after, 1))

    assert unchanged.recorded == unchanged.actual
    with pytest.raises(IntegrityError, match=rf"{path}: the file was changed after it was written"):
        read_checkpoint(path)


def test_the_content_of_a_checkpoint_leaves_out_the_code_that_wrote_it(tmp_path):
    def content(name, value, **changes):
        write_checkpoint(tmp_path / name, header(**changes), {"a": np.full(3, value, np.float32)})
        return content_of(tmp_path / name).digest

    first = content("a.safetensors", 1, code="abc")

    assert first == content("b.safetensors", 1, code="def")
    assert first != content("c.safetensors", 2, code="abc")
    assert first != content("d.safetensors", 1, folds={"train": (1,)})


def test_an_absent_model_is_refused_with_its_reason(tmp_path):
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, header(status="absent", reason="no tiles in training fold 1"), {})

    assert read_header(path).status == "absent"
    with pytest.raises(AbsentModelError, match="no tiles in training fold 1"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
def test_other_and_missing_files_are_refused_with_the_fix(tmp_path, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)

    with pytest.raises(ContractError, match=r"this is not a checkpoint of cellvit-optimus(.|\n)*Fix: rm"):
        read_header(path)
    with pytest.raises(MissingInputError, match="Fix: snakemake -- "):
        read_header(tmp_path / "none.safetensors")


def test_a_changed_digest_of_the_weights_is_noticed_although_the_weights_are_intact(tmp_path):
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, header(), {"a": np.ones(3, np.float32)})
    digest = read_header(path).weights_sha256.encode()

    path.write_bytes(path.read_bytes().replace(digest, digest[::-1]))

    with pytest.raises(IntegrityError, match="the file was changed after it was written"):
        read_checkpoint(path)
