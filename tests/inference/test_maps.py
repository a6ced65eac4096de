import pytest
import torch

from cellvit.errors import AbsentModelError, ContractError
from cellvit.formats.checkpoints import CheckpointHeader, write_checkpoint
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.provenance import Provenance
from cellvit.inference.maps import load_decoder
from cellvit.inference.organs import load_organ_head
from cellvit.models.hovernet import HoVerNetDecoder

CPU = torch.device("cpu")
ARCHITECTURE = {"dim": 4, "blocks": 1, "grid": 16, "widths": [4, 4, 4, 4, 4], "image_stem": "none"}


@pytest.fixture
def decoder():
    return HoVerNetDecoder(**ARCHITECTURE).eval()


@pytest.fixture
def write(tmp_path):
    def make(weights, **changes):
        header = {
            "provenance": Provenance(data_set=PANNUKE),
            "kind": "hovernet",
            "split": "1",
            "family": "digestive",
            "status": "trained",
            "architecture": ARCHITECTURE,
            "encoder": {"blocks": [0]},
            "mpp": 0.25,
        }
        arrays = {name: values.numpy() for name, values in weights.items()}
        write_checkpoint(tmp_path / "model.safetensors", CheckpointHeader(**header | changes), arrays)
        return tmp_path / "model.safetensors"

    return make


def test_a_loaded_decoder_predicts_as_the_one_that_was_saved(write, decoder) -> None:
    loaded = load_decoder(write(decoder.state_dict()), CPU)

    tokens = torch.randn(1, 1, 16, 16, 4)
    assert torch.equal(loaded.module(tokens).hv, decoder(tokens).hv)
    assert not loaded.module.training


@pytest.mark.parametrize(
    ("layer", "architecture"),
    [pytest.param("hv.weight", {}, id="missing_layer"), pytest.param("", {"depth": 3}, id="unknown_argument")],
)
def test_weights_that_do_not_fit_the_architecture_are_refused(write, decoder, layer, architecture) -> None:
    weights = {name: values for name, values in decoder.state_dict().items() if name != layer}

    with pytest.raises(ContractError, match="do not fit the architecture"):
        load_decoder(write(weights, architecture=ARCHITECTURE | architecture), CPU)


def test_an_absent_model_says_why(write) -> None:
    path = write({}, status="absent", reason="family digestive has no tiles in training folds 1")

    with pytest.raises(AbsentModelError, match="no tiles in training folds 1"):
        load_decoder(path, CPU)


@pytest.mark.parametrize(("kind", "load"), [("organ_head", load_decoder), ("hovernet", load_organ_head)])
def test_a_model_of_another_kind_is_refused(write, kind, load) -> None:
    with pytest.raises(ContractError, match=f"expected a model of kind .*, found {kind}"):
        load(write({"x": torch.zeros(1)}, kind=kind), CPU)
