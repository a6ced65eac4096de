import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from cellvit.errors import SettingsError
from cellvit.hover.encode import hv_maps
from cellvit.losses.hover import (
    HoVerNetLoss,
    LossParts,
    dice_loss,
    gradient_loss,
    magnitude_loss,
    regression_loss,
    type_loss,
)
from cellvit.models.hovernet import HoverMaps

Masked = Callable[[Tensor, Tensor, Tensor], Tensor]
each_masked = pytest.mark.parametrize("loss", [partial(regression_loss, kind="mse"), gradient_loss, magnitude_loss])


@pytest.fixture
def instances() -> Tensor:
    """Two tiles of 24 x 24 px with two nuclei each."""
    tiles = torch.zeros(2, 24, 24, dtype=torch.int32)
    tiles[:, 3:10, 3:12], tiles[:, 10:20, 6:15] = 7, 4
    return tiles


@pytest.fixture
def classes(instances: Tensor) -> Tensor:
    return torch.where(instances == 7, 1, torch.where(instances == 4, 5, 0)).to(torch.uint8)


def perfect(instances: Tensor, classes: Tensor) -> HoverMaps:
    nuclear = torch.stack((instances == 0, instances > 0), dim=1) * 40.0 - 20
    types = torch.nn.functional.one_hot(classes.long(), 6).permute(0, 3, 1, 2) * 40.0 - 20
    return HoverMaps(nuclear, hv_maps(instances), types)


def noisy(instances: Tensor, *, requires_grad: bool = False) -> HoverMaps:
    generator = torch.Generator().manual_seed(0)
    b, h, w = instances.shape
    return HoverMaps(*(torch.randn(b, c, h, w, generator=generator).requires_grad_(requires_grad) for c in (2, 2, 6)))


def cost(loss: HoVerNetLoss, maps: HoverMaps, instances: Tensor, classes: Tensor) -> LossParts:
    parts: LossParts = loss(maps, instances, classes, hv_maps(instances))
    return parts


def as_floats(parts: LossParts) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in parts._asdict().items()}


def test_magnitude_of_known_vectors() -> None:
    hv_pred, hv_target = torch.zeros(1, 2, 1, 2), torch.zeros(1, 2, 1, 2)
    hv_pred[0, :, 0, 0] = torch.tensor([0.6, 0.8])  # length 1
    hv_target[0, :, 0, 0] = torch.tensor([0.0, -0.5])
    hv_target[0, :, 0, 1] = torch.tensor([0.3, 0.4])  # length 0.5, predicted 0

    loss = magnitude_loss(hv_pred, hv_target, torch.ones(1, 1, 2, dtype=torch.bool))

    assert loss.item() == pytest.approx((0.5**2 + 0.5**2) / 2, rel=1e-3)


@each_masked
def test_weak_predictions_cost_over_five_times_strong_ones(loss: Masked, instances: Tensor) -> None:
    truth, mask = hv_maps(instances), instances > 0

    assert loss(0.1 * truth, truth, mask) > 5 * loss(0.9 * truth, truth, mask)


@each_masked
def test_pixels_outside_the_mask_change_neither_value_nor_gradient(loss: Masked, instances: Tensor) -> None:
    truth, mask = hv_maps(instances), instances > 0
    pred = noisy(instances, requires_grad=True).hv
    other = torch.where(mask.unsqueeze(1), pred, 100 * pred + 3)

    value = loss(pred, truth, mask)
    value.backward()

    assert torch.equal(value, loss(other, truth, mask))
    assert pred.grad.norm() > 0.001
    assert not pred.grad[~mask.unsqueeze(1).expand_as(pred)].any()


@each_masked
def test_mean_is_over_nuclear_pixels_of_the_whole_batch(loss: Masked, instances: Tensor) -> None:
    pred, truth, mask = noisy(instances).hv, hv_maps(instances), instances > 0

    padded = [torch.cat((tensor, torch.zeros_like(tensor))) for tensor in (pred, truth, mask)]

    assert loss(*padded).item() == pytest.approx(loss(pred, truth, mask).item())


@pytest.mark.parametrize(
    ("offset", "weight_h", "weight_v"),
    [
        pytest.param((0, 1), 1, 0, id="right"),
        pytest.param((2, 0), 0, 1 / 2, id="two_below"),
        pytest.param((1, 1), 1 / 2, 1 / 2, id="across"),
        pytest.param((1, 2), 2 / 5, 1 / 5, id="knight"),
        pytest.param((0, 3), 0, 0, id="out_of_reach"),
    ],
)
def test_derivative_has_the_published_weights(offset: tuple[int, int], weight_h: float, weight_v: float) -> None:
    pred, mask = torch.zeros(1, 2, 9, 9), torch.zeros(1, 9, 9, dtype=torch.bool)
    for row, column in ((3, 3), (3 + offset[0], 3 + offset[1])):
        mask[0, row, column] = True
        pred[0, :, row, column] = torch.tensor([3.0, 5.0])

    loss = gradient_loss(pred, torch.zeros_like(pred), mask)

    # each pixel is a neighbour of the other; the mean is over 2 pixels and 2 channels
    assert loss.item() == pytest.approx(2 * ((3 * weight_h) ** 2 + (5 * weight_v) ** 2) / 4)


def test_dice_has_known_values_and_is_zero_for_a_correct_empty_tile() -> None:
    mask = torch.tensor([[[True, True, False, False]]])

    assert dice_loss(torch.tensor([[[1.0, 0, 1, 0]]]), mask).item() == pytest.approx(0.5, abs=1e-3)
    assert dice_loss(mask.float(), mask).item() == pytest.approx(0)
    assert dice_loss(torch.zeros(1, 1, 4), torch.zeros(1, 1, 4, dtype=torch.bool)).item() == 0


def test_class_weights_apply_by_true_class_and_may_all_be_zero(instances: Tensor, classes: Tensor) -> None:
    logits = noisy(instances).nt
    weights = torch.tensor([0.5, 2, 1, 1, 1, 3])

    per_pixel = -logits.log_softmax(dim=1).gather(1, classes.long().unsqueeze(1)).squeeze(1)
    weight = weights[classes.long()]
    expected = (per_pixel * weight).sum() / weight.sum()

    assert type_loss(logits, classes, weights).item() == pytest.approx(expected.item(), rel=1e-5)
    assert type_loss(logits, torch.zeros_like(classes), torch.tensor([0.0, 1, 1, 1, 1, 1])).item() == 0


@pytest.mark.parametrize("regression", ["mse", "smooth_l1"])
def test_total_is_the_weighted_sum_of_its_parts(regression: str, instances: Tensor, classes: Tensor) -> None:
    loss = HoVerNetLoss(
        np_weight=0.7,
        hv_weight=1.5,
        nt_weight=0.3,
        hv_regression_weight=0.9,
        hv_gradient_weight=1.1,
        hv_magnitude_weight=0.4,
        regression=regression,
    )

    parts = as_floats(cost(loss, noisy(instances), instances, classes))

    assert list(parts)[:7] == ["np", "hv", "hv_l1", "hv_gradient", "hv_magnitude", "nt", "total"]  # names of the log
    hv = 0.9 * parts["hv_l1"] + 1.1 * parts["hv_gradient"] + 0.4 * parts["hv_magnitude"]
    assert parts["hv"] == pytest.approx(hv, rel=1e-5)
    assert parts["total"] == pytest.approx(0.7 * parts["np"] + 1.5 * hv + 0.3 * parts["nt"], rel=1e-5)
    assert [parts[f"weight_{name}"] for name in ("np", "hv", "nt")] == pytest.approx([0.7, 1.5, 0.3])


def test_perfect_maps_cost_nothing_and_default_weights_are_those_of_the_original_system(
    instances: Tensor, classes: Tensor
) -> None:
    parts = as_floats(cost(HoVerNetLoss(), noisy(instances), instances, classes))

    assert parts["hv"] == pytest.approx(parts["hv_l1"] + 2 * parts["hv_gradient"] + parts["hv_magnitude"], rel=1e-5)
    assert parts["total"] == pytest.approx(parts["np"] + 2 * parts["hv"] + parts["nt"], rel=1e-5)
    assert cost(HoVerNetLoss(), perfect(instances, classes), instances, classes).total.item() < 1e-5
    assert not list(HoVerNetLoss().parameters())  # nothing to learn


def test_empty_tiles_give_zero_distance_terms_and_a_finite_gradient() -> None:
    empty = torch.zeros(2, 16, 16, dtype=torch.int32)
    maps = noisy(empty, requires_grad=True)

    parts = cost(HoVerNetLoss(), maps, empty, empty)
    parts.total.backward()

    values = as_floats(parts)
    assert [values[name] for name in ("hv", "hv_l1", "hv_gradient", "hv_magnitude")] == [0, 0, 0, 0]
    assert all(math.isfinite(value) for value in values.values())
    assert all(branch.grad.isfinite().all() for branch in maps)
    assert not maps.hv.grad.any()


def test_adaptive_weights_start_at_the_given_ones_and_are_best_at_half_the_inverse_of_each_loss(
    instances: Tensor, classes: Tensor
) -> None:
    maps, weights = noisy(instances), {"np_weight": 0.5, "hv_weight": 2, "nt_weight": 3}
    loss = HoVerNetLoss(**weights, weighting="adaptive")
    (log_variances,) = loss.parameters()

    fixed = cost(HoVerNetLoss(**weights), maps, instances, classes)
    parts = cost(loss, maps, instances, classes)

    constant = sum(-math.log(weight) / 2 for weight in (0.5, 2, 3))
    assert parts.total.item() == pytest.approx(fixed.total.item() + constant, rel=1e-5)
    assert parts[-3:] == pytest.approx([0.5, 2, 3])
    with torch.no_grad():
        log_variances.copy_(torch.stack((parts.np, parts.hv, parts.nt)).mul(2).log())
    cost(loss, maps, instances, classes).total.backward()
    assert log_variances.grad.tolist() == pytest.approx([0, 0, 0], abs=1e-6)


def test_half_precision_maps_under_autocast_are_compared_in_float32(instances: Tensor, classes: Tensor) -> None:
    maps = HoverMaps(*(branch.bfloat16() for branch in noisy(instances)))
    exact = cost(HoVerNetLoss(), HoverMaps(*(branch.float() for branch in maps)), instances, classes)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        parts = cost(HoVerNetLoss(), maps, instances, classes)

    assert parts.total.dtype == torch.float32
    assert as_floats(parts) == pytest.approx(as_floats(exact))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hv_weight": -1.0}, "hv_weight: input should be greater than or equal to 0, found -1.0"),
        ({"hv_magnitude_weight": math.nan}, "hv_magnitude_weight: input should be a finite number"),
        ({"regression": "l3"}, "regression: input should be 'mse' or 'smooth_l1', found 'l3'"),
        ({"weighting": "magic"}, "weighting: input should be 'fixed' or 'adaptive'"),
        ({"class_weights": torch.ones(1)}, "class weights must be a finite value of 0 or more for each class"),
        (
            {"class_weights": torch.tensor([1.0, 1, 1, 1, 1, -1])},
            "class weights must be a finite value of 0 or more for each class",
        ),
        ({"weighting": "adaptive", "np_weight": 0.0}, "np_weight, which must be above 0"),
    ],
)
def test_invalid_settings_are_refused_by_name(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        HoVerNetLoss(**settings)
