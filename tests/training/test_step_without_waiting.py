"""A whole training step on torch's meta device, whose tensors have shapes and no values.

Whoever reads a value there fails, as `item`, `tolist`, `nonzero` and indexing with a mask do: on a GPU the host would wait
for it. `OneDevice` also finds tensors that are made on the CPU, or copied from there, in the middle of a step.
"""

import numpy as np
import pytest
import torch
from meta_steps import BLOCKS, DIM, GRID, STORED, B, batch, trainable
from one_device import META, OneDevice

from cellvit.evaluation.map_sums import sums_on_device
from cellvit.inference.maps import forward
from cellvit.inference.pixel_maps import pixel_maps
from cellvit.inference.tensors import Changes, shown
from cellvit.inference.tile_source import ResidentTiles
from cellvit.metrics.maps import COLUMNS
from cellvit.training.augmentation import Augmentation
from cellvit.training.hovernet import loss_of
from cellvit.training.loop import train_steps


@pytest.mark.parametrize("weighting", ["fixed", "adaptive"])
def test_a_training_step_never_waits_for_the_device_and_sends_nothing_to_it(weighting):
    training, augmentation = trainable(weighting), Augmentation(STORED, image_jitter=0.2, image_blur=2, token_noise=0.1)
    loss, one = training.others["loss"], batch()

    with OneDevice():
        steps = train_steps(
            training,
            [one, one],
            lambda tiles: loss_of(training.model, loss, tiles, augmentation),
            lambda _: 1e-3,
            max_norm=1.0,
        )
        taken = list(steps)

    assert [step.values.device for step in taken] == [META, META]
    assert [step.n for step in taken] == [B, B]


def test_validation_values_are_computed_without_waiting_for_the_device():
    decoder, one = trainable("fixed").model.eval(), batch()

    with OneDevice():
        truth = shown(one)
        sums = sums_on_device(pixel_maps(forward(decoder, truth)), truth, truth.hv_maps())

    assert sums.shape == (B, len(COLUMNS))


def test_resident_tiles_are_gathered_without_waiting_for_the_device():
    one = batch()
    tokens = torch.empty(B, 3, BLOCKS, GRID, GRID, DIM, dtype=torch.float16, device=META)
    tiles = ResidentTiles(tokens, one.image, one.instances, one.classes, np.arange(B), ("a", "b", "c"), STORED)
    at, view = torch.tensor([2, 0], device=META), torch.tensor([1, 1], device=META)

    with OneDevice():
        gathered = tiles.gathered(at, view, Changes())

    assert gathered.tokens.shape == (2, BLOCKS, GRID, GRID, DIM)
    assert len(gathered) == 2


@pytest.mark.parametrize(
    "waits",
    [
        pytest.param(lambda values: float(values.sum()), id="reads_a_value"),
        pytest.param(lambda values: values[values > 0], id="mask"),
        pytest.param(lambda values: values.nonzero(), id="nonzero"),
        pytest.param(lambda values: values + torch.ones(2).to(META), id="copy_from_the_host"),
        pytest.param(lambda values: values.add(torch.zeros(2)), id="made_on_the_host"),
        pytest.param(lambda values: values.cpu(), id="copy_to_the_host"),
    ],
)
def test_the_check_finds_what_waits_or_copies(waits):
    values = torch.empty(2, device=META)

    with pytest.raises((RuntimeError, NotImplementedError, AssertionError), match="meta"), OneDevice():
        waits(values)
