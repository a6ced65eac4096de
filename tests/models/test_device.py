import pytest
import torch

from cellvit.errors import MissingInputError
from cellvit.models.device import resolve_device


def test_the_cpu_is_always_there() -> None:
    assert resolve_device("cpu").type == "cpu"


def test_auto_takes_a_gpu_exactly_where_there_is_one() -> None:
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_said_with_what_to_do() -> None:
    with pytest.raises(MissingInputError, match="Set device: auto or cpu"):
        resolve_device("cuda")
