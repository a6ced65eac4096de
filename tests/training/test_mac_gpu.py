"""Training and prediction on the GPU of a Mac (mps), as far as a machine without one can tell.

mps has no float64. So whole steps run on torch's meta device, where a tensor of float64 is refused; what goes to the CPU for its float64
is tested with fake tensors of torch, which have the device mps and no values.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from meta_steps import STORED, B, batch, trainable
from one_device import META, tensors_in
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.evaluation.map_sums import sums_on_device
from cellvit.inference.maps import forward
from cellvit.inference.pixel_maps import PixelMaps, pixel_maps
from cellvit.inference.tensors import TensorBatch, sent, shown
from cellvit.inference.transfer import Transfer
from cellvit.metrics.maps import COLUMNS
from cellvit.models.device import autocast, in_float64
from cellvit.models.encoder import load_encoder
from cellvit.training.augmentation import Augmentation
from cellvit.training.hovernet import loss_of
from cellvit.training.loop import train_steps
from cellvit.training.seeding import seed_step

MPS = torch.device("mps", 0)


class NoFloat64(TorchDispatchMode):
    """Refuse tensors of float64."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tensors_in([result]):
            assert tensor.dtype != torch.float64 or not tensor.ndim, f"{func} makes a tensor of float64"
        return result


@pytest.mark.parametrize("weighting", ["fixed", "adaptive"])
def test_a_training_step_with_all_augmentation_needs_no_float64(weighting: str) -> None:
    training, augmentation = trainable(weighting), Augmentation(STORED, image_jitter=0.2, image_blur=2, token_noise=0.1)
    loss, one = training.others["loss"], batch()

    with NoFloat64():
        steps = train_steps(
            training,
            [one],
            lambda tiles: loss_of(training.model, loss, tiles, augmentation),
            lambda _: 1e-3,
            max_norm=1.0,
        )
        (step,) = list(steps)

    assert step.values.dtype == torch.float32


def test_a_prediction_needs_no_float64() -> None:
    encoder = load_encoder(EncoderSettings(preset="tiny-vit", weights="random"), FeaturesSettings(input_px=56), META)
    decoder, one = trainable("fixed").model.eval(), batch()

    with NoFloat64():
        prepared = encoder.prepared(one.image)
        maps = pixel_maps(forward(decoder, shown(one)))

    assert (prepared.dtype, maps.hv.dtype) == (torch.float32, torch.float32)


def test_the_check_finds_float64() -> None:
    with pytest.raises(AssertionError, match="makes a tensor of float64"), NoFloat64():
        torch.empty(2, device=META).double()


@pytest.fixture
def mac() -> Iterator[None]:
    """Inside of a test, new tensors are fakes, also those of mps."""
    with FakeTensorMode():
        yield


def test_values_of_validation_are_added_up_in_float64_on_the_cpu(mac: None) -> None:
    maps = PixelMaps(*(torch.empty(B, *shape, 256, 256, device=MPS) for shape in ((), (2,), (6,))))
    tokens, image = torch.empty(B, 1, 16, 16, 6, device=MPS), torch.empty(B, 3, 256, 256, device=MPS)
    instances = torch.empty(B, 256, 256, dtype=torch.int32, device=MPS)
    truth = TensorBatch(tokens, image, instances, torch.empty(B, 256, 256, dtype=torch.uint8, device=MPS))

    sums = sums_on_device(maps, truth, torch.empty(B, 2, 256, 256, device=MPS))

    assert (sums.shape, sums.dtype, sums.device.type) == ((B, len(COLUMNS)), torch.float64, "cpu")
    assert in_float64(torch.empty(2, device=MPS)).device.type == "cpu"


def test_tensors_are_copied_there_and_back_without_pinned_memory(mac: None) -> None:
    transfer = Transfer(MPS)

    up = transfer.sent(torch.empty(3))

    assert up.device == sent(torch.empty(3), MPS).device == MPS
    assert (transfer.pinned, transfer.computes_on_host) == (False, False)
    (down,) = transfer.down((up,)).tensors
    assert down.device.type == "cpu"


@contextmanager
def seeded_mps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Seeds that the generator of mps is given; there is none here."""
    seeds: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(torch.mps, "manual_seed", seeds.append)
        yield seeds


def test_dropout_depends_on_the_seed_and_the_step_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with seeded_mps(monkeypatch) as seeds:
        for seed, step in ((1, 7), (1, 8), (1, 7)):
            seed_step(seed, step, MPS)

    assert seeds[0] == seeds[2] != seeds[1]


def test_the_decoder_computes_in_float32_unless_bfloat16_is_asked_for() -> None:
    with autocast(MPS):
        assert not torch.is_autocast_enabled("mps")
    with autocast(MPS, "bfloat16"):
        assert torch.get_autocast_dtype("mps") == torch.bfloat16
