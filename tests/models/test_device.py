import logging
from collections.abc import Callable, Iterator

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cellvit.config.models import Precision
from cellvit.errors import MissingInputError
from cellvit.models.device import _resolved, arithmetic, gpu_fault, resolve_device, settle_vector_math
from cellvit.models.timm_import import import_timm


def test_auto_is_a_gpu_exactly_if_there_is_one() -> None:
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_an_error_with_the_fix() -> None:
    with pytest.raises(MissingInputError, match="Fix: set device: auto or cpu"):
        resolve_device("cuda")


def test_the_gpu_of_a_mac_is_used_if_it_is_asked_for_and_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    _resolved.cache_clear()

    assert resolve_device("mps").type == "mps"
    assert resolve_device("auto").type != "mps"
    _resolved.cache_clear()


@pytest.mark.parametrize("built", [True, False])
def test_a_missing_gpu_of_a_mac_is_an_error_with_the_reason_and_the_fix(
    monkeypatch: pytest.MonkeyPatch, built: bool
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: built)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    reason = "this machine has no GPU that Metal supports" if built else "is a build without mps"
    with pytest.raises(MissingInputError, match=rf"{reason}.* Fix: set device: auto or cpu"):
        resolve_device("mps")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Let torch say that it was built for CUDA and sees a card of this compute capability."""

    def answer(*, capability: tuple[int, int] = (8, 6), kernels: tuple[str, ...] = ("sm_75", "sm_80", "sm_90")) -> None:
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        for name, value in (
            ("is_available", True),
            ("get_device_capability", capability),
            ("get_arch_list", list(kernels)),
            ("get_device_name", "Pretend P1"),
        ):
            monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
        gpu_fault.cache_clear()

    yield answer
    gpu_fault.cache_clear()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_card_that_torch_cannot_use_is_missing_and_the_reason_is_said(card: Callable[..., None]) -> None:
    assert "is a build without CUDA" in gpu_fault()

    card(capability=(6, 1))
    assert "Pretend P1 has compute capability 6.1, for which torch" in gpu_fault()

    card(capability=(8, 6))  # kernels of 8.0 run there; the card itself does not answer
    assert gpu_fault().startswith("Pretend P1 does not compute: ")


def test_the_log_says_once_what_is_computed_on_and_why(caplog: pytest.LogCaptureFixture) -> None:
    _resolved.cache_clear()

    with caplog.at_level(logging.INFO):
        resolve_device("cpu")
        resolve_device("cpu")

    assert [record.getMessage() for record in caplog.records] == [
        "computing on the CPU because the setting is device: cpu"
    ]


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


@pytest.mark.parametrize(
    ("capabilities", "precision", "expected"),
    [
        ({"avx2": True}, "fastest", "float32"),
        ({"avx512_bf16": True}, "fastest", "bfloat16"),
        ({"amx_bf16": True, "avx512_bf16": False}, "fastest", "bfloat16"),
        ({"avx512_bf16": True}, "auto", "float32"),
        ({"avx2": True}, "bfloat16", "bfloat16"),
    ],
)
def test_a_cpu_computes_in_16_bits_only_where_it_is_asked_to(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], precision: Precision, expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)

    assert arithmetic(torch.device("cpu"), precision) == expected
