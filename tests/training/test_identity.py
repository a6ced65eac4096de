"""Whatever decides the weights of a training is in its identity, by name."""

import pytest
import torch

from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.provenance import Provenance
from cellvit.training.identity import identity_of

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def identity(device: torch.device = CPU, order: tuple[int, ...] = (1, 2), **changes: object) -> dict[str, str]:
    origin = Provenance(made_from={"features_fold1": "0a"}, settings={"training": {"epochs": 50, "loss": {"hv": 2.0}}})
    fields = {"kind": "hovernet", "split": "1", "family": "digestive", "status": "trained", "mpp": 0.25}
    header = CheckpointHeader(**{"provenance": origin, "folds": {"train": (1,), "validate": (2,)}, **fields, **changes})
    return identity_of(header, folds_in_order=order, code="abc", device=device)


def test_settings_and_content_are_named_one_by_one():
    found = identity()

    assert (found["training.epochs"], found["training.loss.hv"]) == ("50", "2.0")
    assert found["content of features_fold1"] == "0a"
    assert found["code"] == "abc"
    assert f"torch {torch.__version__}" in found["software"]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        pytest.param({"split": "2"}, "split", id="split"),
        pytest.param({"family": "all"}, "family", id="family"),
        pytest.param({"kind": "organ_head"}, "model", id="model"),
        pytest.param({"folds": {"train": (2,), "validate": (1,)}}, "folds", id="folds"),
        pytest.param({"order": (2, 1)}, "order of folds", id="order"),
        pytest.param({"device": GPU}, "device", id="device"),
    ],
)
def test_a_change_of_what_decides_the_weights_changes_the_value_of_its_name(change, name):
    before, after = identity(), identity(**change)

    assert before[name] != after[name]


def test_threads_count_on_a_cpu_alone():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = identity(CPU), identity(GPU)
        torch.set_num_threads(2)
        two = identity(CPU), identity(GPU)
    finally:
        torch.set_num_threads(before)

    assert (one[0]["threads"], two[0]["threads"]) == ("1", "2")
    assert one[1] == two[1]
