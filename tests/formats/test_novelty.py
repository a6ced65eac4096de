"""Novelty models as files: what is written is read back, and what is absent or changed is refused."""

import numpy as np
import pytest

from cellvit.errors import AbsentModelError, ContractError, IntegrityError
from cellvit.formats.content import content_of
from cellvit.formats.novelty import (
    Novelty,
    NoveltyHeader,
    read_novelty,
    read_novelty_header,
    write_absent_novelty,
    write_novelty,
)
from cellvit.formats.provenance import Provenance


def header(**fields):
    return NoveltyHeader(provenance=Provenance(), split="1", **{"status": "fitted", "threshold": 2.0} | fields)


def model():
    whitening = np.array([[2.0, 0.0], [0.0, 0.5]], np.float32)
    return Novelty(header(), np.array([1.0, 1.0], np.float32), whitening)


def test_a_model_is_read_back_with_its_threshold_and_distances(tmp_path):
    path = tmp_path / "novelty.safetensors"
    tokens = np.array([[1, 1], [2, 1], [1, 7]], np.float32)

    write_novelty(path, model())
    found = read_novelty(path)

    assert found.threshold == 2.0
    assert found.distances(tokens) == pytest.approx([0, 2 / 2**0.5, 3 / 2**0.5])
    assert found.unlike(tokens).tolist() == [False, False, True]


def test_the_same_model_gives_the_same_bytes(tmp_path):
    for name in ("one", "other"):
        write_novelty(tmp_path / f"{name}.safetensors", model())

    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "other.safetensors").read_bytes()


def test_the_reason_for_an_absent_model_is_in_its_header_and_in_the_error(tmp_path):
    path = tmp_path / "novelty.safetensors"

    write_absent_novelty(path, header(status="absent", reason="no validation tiles", threshold=None))

    assert read_novelty_header(path).reason == "no validation tiles"
    with pytest.raises(AbsentModelError, match="no validation tiles"):
        read_novelty(path)


def test_a_changed_threshold_is_refused(tmp_path):
    path = tmp_path / "novelty.safetensors"
    write_novelty(path, model())

    path.write_bytes(path.read_bytes().replace(b'threshold\\":2.0', b'threshold\\":9.0'))

    with pytest.raises(IntegrityError, match="changed after it was written"):
        read_novelty(path)


def test_another_file_is_refused_with_the_command_that_makes_it_again(tmp_path):
    path = tmp_path / "novelty.safetensors"
    path.write_bytes(b"not a model")

    with pytest.raises(ContractError, match=r"(?s)not a novelty model.*Fix: rm .*novelty\.safetensors"):
        read_novelty(path)


def test_tokens_of_another_encoder_are_refused():
    with pytest.raises(ContractError, match="expected tokens of 2 values, found \\(1, 3\\)"):
        model().distances(np.zeros((1, 3), np.float32))


def test_the_arrays_are_part_of_the_content_that_later_steps_depend_on(tmp_path):
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    write_novelty(one, model())

    write_novelty(other, Novelty(header(), np.zeros(2, np.float32), model().whitening))

    assert content_of(one).digest != content_of(other).digest
