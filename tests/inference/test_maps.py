import pytest
import torch

from cellvit.errors import AbsentModelError, ContractError
from cellvit.formats.checkpoints import CheckpointHeader, write_checkpoint
from cellvit.formats.provenance import Provenance
from cellvit.inference.maps import load_decoder
from cellvit.inference.organs import load_organ_head
from cellvit.models.hovernet import HoVerNetDecoder

CPU = torch.device("cpu")
ARCHITECTURE = {"dim": 4, "taps": 1, "grid": 16, "widths": [4, 4, 4, 4, 4], "image_stem": "none"}


@pytest.fixture
def write(tmp_path):
    def make(weights, **changes):
        header = CheckpointHeader(
            **{
                "provenance": Provenance(),
                "kind": "hovernet",
                "split": "1",
                "family": "digestive",
                "status": "trained",
                "architecture": ARCHITECTURE,
                "encoder": {"taps": [0]},
                "mpp": 0.25,
                **changes,
            }
        )
        write_checkpoint(tmp_path / "model.safetensors", header, weights)
        return tmp_path / "model.safetensors"

    return make


def test_a_loaded_decoder_predicts_as_the_one_that_was_saved(write):
    decoder = HoVerNetDecoder(**ARCHITECTURE).eval()

    loaded = load_decoder(write(decoder.state_dict()), CPU)

    tokens = torch.randn(1, 1, 16, 16, 4)
    assert torch.equal(loaded.module(tokens).hv, decoder(tokens).hv)
    assert not loaded.module.training
    assert loaded.blocks == (0,)


def test_a_missing_layer_is_refused_and_never_left_untrained(write):
    weights = HoVerNetDecoder(**ARCHITECTURE).state_dict()
    del weights["hv.weight"]

    with pytest.raises(ContractError, match="do not belong together"):
        load_decoder(write(weights), CPU)


def test_an_architecture_that_is_not_known_is_refused(write):
    weights = HoVerNetDecoder(**ARCHITECTURE).state_dict()

    with pytest.raises(ContractError, match="do not belong together"):
        load_decoder(write(weights, architecture={**ARCHITECTURE, "depth": 3}), CPU)


def test_an_absent_model_says_why(write):
    path = write({}, status="absent", reason="family digestive has no tiles in training folds 1")

    with pytest.raises(AbsentModelError, match="no tiles in training folds 1"):
        load_decoder(path, CPU)


def test_a_decoder_is_no_organ_head(write):
    path = write(HoVerNetDecoder(**ARCHITECTURE).state_dict())

    with pytest.raises(ContractError, match="expected a model of kind organ_head"):
        load_organ_head(path, CPU)


def test_an_organ_head_is_no_decoder(write):
    with pytest.raises(ContractError, match="expected a model of kind hovernet"):
        load_decoder(write({"x": torch.zeros(1)}, kind="organ_head"), CPU)
