"""Pixels that are not annotated count in no part of the loss; where all are annotated, the loss is what it was."""

import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cellvit.formats.dataset import NOT_ANNOTATED
from cellvit.hover.encode import hv_maps
from cellvit.losses.hover import HoVerNetLoss, LossParts, gradient_loss
from cellvit.models.hovernet import HoverMaps

SIDE, HALF = 32, 16
WEIGHTS = torch.tensor([0.5, 2, 1, 1, 1, 3])
LOSSES = [
    pytest.param({"class_weights": weights, "weighting": weighting, "regression": regression}, id=name)
    for (weights, weighting, regression), name in (
        (one, "_".join((*one[1:], "plain" if one[0] is None else "weighted")))
        for one in product((None, WEIGHTS), ("fixed", "adaptive"), ("mse", "smooth_l1"))
    )
]
each_loss = pytest.mark.parametrize("options", LOSSES)


@pytest.fixture
def instances() -> Tensor:
    """Two tiles with nuclei on both sides, one of which is cut by the edge of the left half, and a nucleus at its border."""
    tiles = torch.zeros(2, SIDE, SIDE, dtype=torch.int32)
    tiles[:, 3:9, 2:9], tiles[:, 12:20, 10:20], tiles[1, 22:28, 20:30], tiles[0, 26:, 4:12] = 1, 2, 3, 4
    return tiles


@pytest.fixture
def truth(instances: Tensor) -> tuple[Tensor, Tensor]:
    """Instances and classes, of which the right half is not annotated."""
    return half(instances, classes_of(instances))


def classes_of(instances: Tensor) -> Tensor:
    return torch.where(instances > 0, 1 + instances % 5, 0).to(torch.uint8)


def half(instances: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    left = torch.arange(SIDE) < HALF
    return torch.where(left, instances, 0), torch.where(left, classes, NOT_ANNOTATED)


def random_maps(seed: int = 0, *, memory: torch.memory_format = torch.contiguous_format) -> HoverMaps:
    generator = torch.Generator().manual_seed(seed)
    maps = (torch.randn(2, c, SIDE, SIDE, generator=generator) for c in (2, 2, 6))
    return HoverMaps(*(branch.contiguous(memory_format=memory).requires_grad_() for branch in maps))


def cost(loss: HoVerNetLoss, maps: HoverMaps, instances: Tensor, classes: Tensor) -> LossParts:
    parts: LossParts = loss(maps, instances, classes, hv_maps(instances))
    parts.total.backward()
    return parts


def as_floats(parts: LossParts) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in parts._asdict().items()}


@each_loss
def test_a_half_that_is_not_annotated_leaves_the_loss_and_the_gradient_of_the_other_half(options, truth) -> None:
    maps, alone = random_maps(), random_maps()
    cropped = HoverMaps(*(branch.detach()[..., :HALF].clone().requires_grad_() for branch in alone))

    parts = cost(HoVerNetLoss(**options), maps, *truth)
    expected = cost(HoVerNetLoss(**options), cropped, *(side[..., :HALF].contiguous() for side in truth))

    assert as_floats(parts) == pytest.approx(as_floats(expected), rel=1e-5)
    for branch, left in zip(maps, cropped, strict=True):
        torch.testing.assert_close(branch.grad[..., :HALF], left.grad, rtol=1e-4, atol=1e-9)
        assert not branch.grad[..., HALF:].any()  # exactly 0


@each_loss
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.0, 1.0, 1e4, 1e18]))
def test_what_is_predicted_where_nothing_is_annotated_changes_no_bit(options, seed: int, scale: float) -> None:
    instances = torch.zeros(2, SIDE, SIDE, dtype=torch.int32)
    instances[:, 4:20, 6:18] = 1
    target, maps = half(instances, classes_of(instances)), random_maps()
    elsewhere = torch.arange(SIDE) >= HALF
    other = HoverMaps(
        *(
            torch.where(elsewhere, scale * noise.detach(), branch.detach()).requires_grad_()
            for branch, noise in zip(maps, random_maps(seed), strict=True)
        )
    )

    parts, changed = (cost(HoVerNetLoss(**options), one, *target) for one in (maps, other))

    assert all(map(torch.equal, parts, changed))
    assert all(torch.equal(branch.grad, found.grad) for branch, found in zip(maps, other, strict=True))


@each_loss
def test_a_batch_without_an_annotated_pixel_costs_nothing_and_moves_nothing(options) -> None:
    loss, maps = HoVerNetLoss(**options), random_maps()
    instances = torch.zeros(2, SIDE, SIDE, dtype=torch.int32)

    parts = as_floats(cost(loss, maps, instances, torch.full_like(instances, NOT_ANNOTATED, dtype=torch.uint8)))

    assert {name: value for name, value in parts.items() if not name.startswith("weight_")} == dict.fromkeys(
        ("np", "hv", "hv_l1", "hv_gradient", "hv_magnitude", "nt", "total"), 0
    )
    assert not any(branch.grad.any() for branch in maps)
    assert not any(parameter.grad.any() for parameter in loss.parameters())


def test_a_tile_that_is_not_annotated_leaves_the_loss_of_the_others(instances) -> None:
    classes, none = classes_of(instances), torch.full((1, SIDE, SIDE), NOT_ANNOTATED, dtype=torch.uint8)
    maps = HoverMaps(*(branch.detach().requires_grad_() for branch in random_maps()))
    first = HoverMaps(*(branch.detach()[:1].clone().requires_grad_() for branch in maps))
    loss = HoVerNetLoss(class_weights=WEIGHTS)

    parts = cost(
        loss, maps, torch.cat((instances[:1], torch.zeros_like(instances[:1]))), torch.cat((classes[:1], none))
    )

    assert as_floats(parts) == pytest.approx(as_floats(cost(loss, first, instances[:1], classes[:1])), rel=1e-5)
    assert not any(branch.grad[1].any() for branch in maps)


def test_the_derivative_finds_at_a_region_that_is_not_annotated_what_it_finds_at_the_edge_of_the_tile(truth) -> None:
    instances, _ = truth
    pred, target, mask = random_maps().hv.detach(), hv_maps(instances), instances > 0

    whole, left = gradient_loss(pred, target, mask), gradient_loss(*(x[..., :HALF] for x in (pred, target, mask)))

    assert mask[..., HALF - 1].any()  # a nucleus reaches the edge
    assert whole.item() == pytest.approx(left.item(), rel=1e-6)


def as_before(
    maps: HoverMaps, instances: Tensor, classes: Tensor, class_weights: Tensor | None
) -> tuple[Tensor, Tensor]:
    """NP and NT losses, written without any region that is not annotated."""
    mask, target = instances != 0, classes.long()
    probability = maps.np.softmax(dim=1)[:, 1]
    shared = 2 * (probability * mask).sum()
    dice = 1 - (shared + 1e-3) / (probability.sum() + mask.sum() + 1e-3)
    loss_np = F.cross_entropy(maps.np, mask.long()) + dice
    if class_weights is None:
        return loss_np, F.cross_entropy(maps.nt, target)
    summed = F.cross_entropy(maps.nt, target, weight=class_weights, reduction="sum")
    return loss_np, summed / class_weights[target].sum()


@pytest.mark.parametrize("class_weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last], ids=str)
def test_where_all_is_annotated_every_bit_is_as_before(class_weights, memory, instances) -> None:
    classes, maps, before = classes_of(instances), random_maps(memory=memory), random_maps(memory=memory)
    loss = HoVerNetLoss(class_weights=class_weights, hv_weight=0.0)

    parts = cost(loss, maps, instances, classes)
    loss_np, loss_nt = as_before(before, instances, classes, class_weights)
    (loss_np + loss_nt).backward()

    assert torch.equal(parts.np, loss_np)
    assert torch.equal(parts.nt, loss_nt)
    assert torch.equal(maps.np.grad, before.np.grad)
    assert torch.equal(maps.nt.grad, before.nt.grad)


def test_no_part_is_nan_beside_a_class_without_weight(truth) -> None:
    weights = torch.tensor([0.0, 0, 0, 0, 1, 0])  # all pixels of class 4 are in the half that is not annotated

    parts = as_floats(cost(HoVerNetLoss(class_weights=weights), random_maps(), *truth))

    assert all(map(math.isfinite, parts.values()))
    assert parts["nt"] == 0
