"""Loss of a HoVer-Net decoder, with every part by name.

References:
    Graham et al. 2019, HoVer-Net, arXiv 1812.06499: NP, HV (regression and gradient) and NT terms.
    Kendall et al. 2018, Multi-task learning using uncertainty, arXiv 1705.07115: learned weights.
"""

import math
from typing import Final, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cellvit.errors import SettingsError
from cellvit.models.maps import HoverMaps
from cellvit.taxonomy import NucleusClass

Regression = Literal["mse", "smooth_l1"]
Weighting = Literal["fixed", "adaptive"]

_MAGNITUDE_EPS: Final = 1e-8
"""Under the root of |v| = sqrt(h^2 + v^2 + eps): its gradient is finite at v = 0 (the original system)."""

_SOBEL_PX: Final = 5
"""Side of the derivative kernel of the gradient term (HoVer-Net)."""

_DICE_SMOOTHING: Final = 1e-3
"""Added to both sides of the Dice ratio: a tile without nuclei, predicted so, costs 0 (HoVer-Net's program)."""

_TASKS: Final = ("np", "hv", "nt")
"""Branches of the decoder in the order of their learned log-variances."""


class LossParts(NamedTuple):
    """Loss of one batch; every entry is a scalar.

    Attributes:
        np: Cross-entropy plus Dice of the nuclear mask.
        hv: Weighted sum of `hv_l1`, `hv_gradient` and `hv_magnitude`.
        hv_l1: Masked regression of HV, whichever kind; the name is what users of the original system read.
        hv_gradient: Masked mean squared error of HV's derivatives.
        hv_magnitude: Masked mean squared error of HV's length.
        nt: Cross-entropy of the nuclear type on all pixels.
        total: What training minimizes.
        weight_np: Weight of `np` in `total`, given or learned; `weight_hv` and `weight_nt` likewise.
    """

    np: Float[Tensor, ""]
    hv: Float[Tensor, ""]
    hv_l1: Float[Tensor, ""]
    hv_gradient: Float[Tensor, ""]
    hv_magnitude: Float[Tensor, ""]
    nt: Float[Tensor, ""]
    total: Float[Tensor, ""]
    weight_np: Float[Tensor, ""]
    weight_hv: Float[Tensor, ""]
    weight_nt: Float[Tensor, ""]

    def as_floats(self) -> dict[str, float]:
        """Values by name, without graph; waits for the device once."""
        values: list[float] = torch.stack(self).detach().tolist()
        return dict(zip(self._fields, values, strict=True))


class HoVerNetLoss(nn.Module):
    """Weighted sum of the NP, HV and NT losses.

    With ``weighting="fixed"``, ``total = np_weight * NP + hv_weight * HV + nt_weight * NT``. With ``"adaptive"`` the
    weights are learned as in Kendall et al. 2018: ``total = sum of exp(-s_i) * L_i + s_i / 2`` with a log-variance s_i for each branch.
    This form is theirs for a classification (NP, NT), and for a regression (HV) up to the constant that the factor
    1/2 of its likelihood leaves. Training starts at ``exp(-s_i) = `` the given weights, and the optimum,
    ``exp(-s_i) = 1 / (2 L_i)``, does not depend on them. The log-variances are parameters of this module: give them
    to the optimizer, without weight decay. An adaptive total can be negative.

    Everything is computed in float32, under autocast too. On a batch without nuclei the HV terms are 0, and their
    gradient is.

    Args:
        np_weight, hv_weight, nt_weight: Weights of the branches in the total.
        hv_regression_weight, hv_gradient_weight, hv_magnitude_weight: Weights of the parts of HV.
        regression: Kind of HV regression.
        class_weights: Weight of each `NucleusClass` in the NT cross-entropy; None is 1 each.
        weighting: Whether the weights of the branches stay or are learned.

    Raises:
        SettingsError: A weight is negative or not finite, a name is unknown, there are not six class weights, or an
            adaptive weight starts at 0.
    """

    class_weights: Float[Tensor, "6"] | None
    weights: Float[Tensor, "3"]

    def __init__(  # more than six options: each is one setting of the training section
        self,
        *,
        np_weight: float = 1.0,
        hv_weight: float = 2.0,
        nt_weight: float = 1.0,
        hv_regression_weight: float = 1.0,
        hv_gradient_weight: float = 2.0,
        hv_magnitude_weight: float = 1.0,
        regression: Regression = "mse",
        class_weights: Float[Tensor, "6"] | None = None,
        weighting: Weighting = "fixed",
    ) -> None:
        super().__init__()
        _check_weights(
            np_weight=np_weight,
            hv_weight=hv_weight,
            nt_weight=nt_weight,
            hv_regression_weight=hv_regression_weight,
            hv_gradient_weight=hv_gradient_weight,
            hv_magnitude_weight=hv_magnitude_weight,
        )
        _check_choice("regression", regression, ("mse", "smooth_l1"))
        _check_choice("weighting", weighting, ("fixed", "adaptive"))
        _check_class_weights(class_weights)
        self.hv_regression_weight = hv_regression_weight
        self.hv_gradient_weight = hv_gradient_weight
        self.hv_magnitude_weight = hv_magnitude_weight
        self.regression: Regression = regression
        self.register_buffer("class_weights", class_weights)
        self.register_buffer("weights", torch.tensor([np_weight, hv_weight, nt_weight], dtype=torch.float32))
        self.log_variances = _log_variances(np_weight, hv_weight, nt_weight) if weighting == "adaptive" else None

    def forward(
        self,
        maps: HoverMaps,
        instances: Int[Tensor, "b h w"],
        classes: Int[Tensor, "b h w"],
        hv_target: Float[Tensor, "b 2 h w"],
    ) -> LossParts:
        """Compare a batch of maps with its truth; `hv_target` is `cellvit.hover.encode.hv_maps` of `instances`."""
        mask = instances != 0
        with torch.autocast(mask.device.type, enabled=False):
            logits, hv, types, target = maps.np.float(), maps.hv.float(), maps.nt.float(), hv_target.float()
            loss_np = F.cross_entropy(logits, mask.long()) + dice_loss(logits.softmax(dim=1)[:, 1], mask)
            hv_l1 = regression_loss(hv, target, mask, kind=self.regression)
            gradient = gradient_loss(hv, target, mask)
            magnitude = magnitude_loss(hv, target, mask)
            loss_hv = (
                self.hv_regression_weight * hv_l1
                + self.hv_gradient_weight * gradient
                + self.hv_magnitude_weight * magnitude
            )
            loss_nt = type_loss(types, classes, self.class_weights)
            total, weights = self._total(torch.stack((loss_np, loss_hv, loss_nt)))
        return LossParts(loss_np, loss_hv, hv_l1, gradient, magnitude, loss_nt, total, *weights.detach().unbind())

    def _total(self, losses: Float[Tensor, "3"]) -> tuple[Float[Tensor, ""], Float[Tensor, "3"]]:
        """Total of NP, HV and NT, and the weights in it."""
        if self.log_variances is None:
            return (self.weights * losses).sum(), self.weights
        weights = torch.exp(-self.log_variances)
        return (weights * losses + self.log_variances / 2).sum(), weights


def regression_loss(
    hv_pred: Float[Tensor, "b 2 h w"],
    hv_target: Float[Tensor, "b 2 h w"],
    mask: Bool[Tensor, "b h w"],
    *,
    kind: Regression = "mse",
) -> Float[Tensor, ""]:
    """Mean over nuclear pixels and both channels of the squared (or smooth absolute) difference."""
    compare = F.mse_loss if kind == "mse" else F.smooth_l1_loss
    return _masked_mean(compare(hv_pred, hv_target, reduction="none"), mask)


def gradient_loss(
    hv_pred: Float[Tensor, "b 2 h w"], hv_target: Float[Tensor, "b 2 h w"], mask: Bool[Tensor, "b h w"]
) -> Float[Tensor, ""]:
    """Mean over nuclear pixels of the squared difference of dh/dx and dv/dy.

    The derivative is HoVer-Net's 5 x 5 kernel, weight x / (x^2 + y^2) at offset (x, y), not normalized. It is linear,
    so the difference is derived once instead of both maps. Unlike HoVer-Net's, the difference is 0 outside nuclei
    and beyond the tile: there its kernel would let pixels up to 2 px outside a nucleus count.
    """
    horizontal = _derivative_kernel(hv_pred)
    kernels = torch.stack((horizontal, horizontal.T)).unsqueeze(1)  # (2, 1, 5, 5): h along x, v along y
    difference = torch.where(_one_channel(mask), hv_pred - hv_target, 0)
    return _masked_mean(F.conv2d(difference, kernels, padding=_SOBEL_PX // 2, groups=2).square(), mask)


def magnitude_loss(
    hv_pred: Float[Tensor, "b 2 h w"], hv_target: Float[Tensor, "b 2 h w"], mask: Bool[Tensor, "b h w"]
) -> Float[Tensor, ""]:
    """Mean over nuclear pixels of (|hv_pred| - |hv_target|)^2, |v| = sqrt(h^2 + v^2 + 1e-8).

    Keeps a decoder that is unsure of the direction from shrinking its vectors to nothing.
    """
    difference = _magnitude(hv_pred) - _magnitude(hv_target)
    return _masked_mean(difference.square().unsqueeze(1), mask)


def dice_loss(probability: Float[Tensor, "b h w"], mask: Bool[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """1 - Dice of the nuclear probability, pixels of the batch pooled; 0 where both sides are empty.

    HoVer-Net adds the same term for background; here the cross-entropy alone speaks for it.
    """
    shared = 2 * (probability * mask).sum()
    return 1 - (shared + _DICE_SMOOTHING) / (probability.sum() + mask.sum() + _DICE_SMOOTHING)


def type_loss(
    logits: Float[Tensor, "b 6 h w"], classes: Int[Tensor, "b h w"], class_weights: Float[Tensor, "6"] | None = None
) -> Float[Tensor, ""]:
    """Cross-entropy over all pixels, each counted with the weight of its true class; 0 where no pixel has weight."""
    target = classes.long()
    if class_weights is None:
        return F.cross_entropy(logits, target)
    summed = F.cross_entropy(logits, target, weight=class_weights, reduction="sum")
    weight = class_weights[target].sum()
    return summed / torch.where(weight > 0, weight, 1)


def _masked_mean(values: Float[Tensor, "b c h w"], mask: Bool[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """Mean over masked pixels and all channels; 0, with a gradient of 0, where the mask is empty."""
    inside = _one_channel(mask)
    return torch.where(inside, values, 0).sum() / (inside.sum() * values.shape[1]).clamp(min=1)


def _one_channel(mask: Bool[Tensor, "b h w"]) -> Bool[Tensor, "b 1 h w"]:
    """The mask beside channels; (b, 1, h, w) and numbers for truth values are taken as well."""
    return mask.bool().reshape(len(mask), 1, *mask.shape[-2:])


def _magnitude(hv: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b h w"]:
    return (hv.square().sum(dim=1) + _MAGNITUDE_EPS).sqrt()


def _derivative_kernel(like: Float[Tensor, "..."]) -> Float[Tensor, "k k"]:
    """Derivative along x, 0 in the centre, on the device and in the dtype of `like`."""
    offset = torch.arange(_SOBEL_PX, device=like.device, dtype=like.dtype) - _SOBEL_PX // 2
    squared = offset.square() + offset.square().unsqueeze(1)
    return offset / squared.clamp(min=1)


def _log_variances(*weights: float) -> nn.Parameter:
    for task, weight in zip(_TASKS, weights, strict=True):
        if weight == 0:
            raise SettingsError(
                f"adaptive weighting starts from the loss weight {task}, which must be over 0, found 0. "
                "Set it over 0, or use fixed weighting to leave the branch out."
            )
    return nn.Parameter(torch.tensor([-math.log(weight) for weight in weights]))


def _check_weights(**weights: float) -> None:
    for name, weight in weights.items():
        if not (0 <= weight < math.inf):
            raise SettingsError(f"loss weight {name} must be 0 or more and finite, found {weight}.")


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SettingsError(f"loss setting {name} must be one of {', '.join(allowed)}, found {value!r}.")


def _check_class_weights(class_weights: Float[Tensor, "6"] | None) -> None:
    if class_weights is None:
        return
    if class_weights.shape != (len(NucleusClass),) or not (class_weights.isfinite() & (class_weights >= 0)).all():
        raise SettingsError(
            f"class weights must be {len(NucleusClass)} finite values of 0 or more, background first, "
            f"found {class_weights.tolist()}."
        )
