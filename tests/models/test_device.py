import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cellvit.errors import MissingInputError
from cellvit.models.device import resolve_device, settle_vector_math
from cellvit.models.timm_import import import_timm


def test_auto_is_a_gpu_exactly_if_there_is_one() -> None:
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_an_error_with_the_fix() -> None:
    with pytest.raises(MissingInputError, match="Fix: set device: auto or cpu"):
        resolve_device("cuda")


class Calls(TorchDispatchMode):
    """Operators that torch runs, with the size and dtype of their first argument."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[str, int, torch.dtype]] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if args and isinstance(args[0], torch.Tensor):
            self.seen.add((func.overloadpacket.__name__.rstrip("_"), args[0].numel(), args[0].dtype))
        return func(*args, **(kwargs or {}))


def test_vector_functions_are_called_by_one_thread_before_anything_else_calls_them() -> None:
    settle_vector_math.cache_clear()

    with Calls() as before:
        resolve_device("cpu")
    with Calls() as again:
        resolve_device("cpu")
    with Calls() as initialised:
        import_timm().layers.trunc_normal_(torch.empty(3))

    settled = {(name, dtype) for name, size, dtype in before.seen if size == 1}
    assert {("erfinv", torch.float32), ("sqrt", torch.float32), ("exp", torch.float64)} <= settled
    assert "erfinv" in {name for name, _, _ in initialised.seen}, "initial weights are computed with it"
    assert {size for _, size, _ in before.seen} == {1}
    assert again.seen == set()
