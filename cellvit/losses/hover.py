"""Loss of a HoVer-Net decoder, with every part by name.

References:
    Graham et al., HoVer-Net, Medical Image Analysis 2019, arXiv 1812.06499: NP, HV (regression, gradient), NT terms.
    Kendall et al., Multi-task learning using uncertainty, CVPR 2018, arXiv 1705.07115: learned weights.
"""

import math
from typing import Final, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import ValidationError
from torch import Tensor, nn

from cellvit.config.messages import settings_error
from cellvit.config.models import LossSettings
from cellvit.errors import SettingsError
from cellvit.formats.dataset import NOT_ANNOTATED
from cellvit.models.device import full_precision
from cellvit.models.hovernet import HoverMaps

_MAGNITUDE_EPS: Final = 1e-8
"""Added under the root of |v| = sqrt(h^2 + v^2 + eps), so that its gradient is finite at 0 (the original system)."""

_SOBEL_PX: Final = 5
"""Side of the derivative kernel of the gradient term (HoVer-Net)."""

_DICE_SMOOTHING: Final = 1e-3
"""Added to both sides of the Dice ratio, so that a tile correctly predicted empty costs 0 (HoVer-Net's program)."""


class LossParts(NamedTuple):
    """Loss of one batch; every entry is a scalar.

    Attributes:
        np: Cross-entropy plus Dice loss of the nuclear mask.
        hv: Weighted sum of `hv_l1`, `hv_gradient` and `hv_magnitude`.
        hv_l1: Masked regression of HV of either form; users of the original system know it by this name.
        hv_gradient: Masked mean squared error of the derivatives of HV.
        hv_magnitude: Masked mean squared error of the length of HV.
        nt: Cross-entropy of the nuclear type over all annotated pixels.
        total: The value that training minimizes.
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


class HoVerNetLoss(nn.Module):
    """Weighted sum of the NP, HV and NT losses.

    With ``weighting="fixed"``, ``total = np_weight * NP + hv_weight * HV + nt_weight * NT``. With ``"adaptive"``, the
    weights are learned as in Kendall et al. 2018: ``total = sum of exp(-s_i) * L_i + s_i / 2`` with a log-variance s_i
    for each branch. This is their form for a classification (NP, NT), and for a regression (HV) up to a constant (the
    factor 1/2 of its likelihood). Training starts at ``exp(-s_i)`` equal to the given weights; the optimum,
    ``exp(-s_i) = 1 / (2 L_i)``, does not depend on them. The log-variances are parameters of this module: pass them to
    the optimizer, without weight decay. An adaptive total can be negative.

    Everything is computed in float32, also under autocast. On a batch without nuclei, the HV terms and their gradients
    are 0.

    Pixels whose class is `NOT_ANNOTATED` count nowhere: no term and no mean has them, and the gradient of the maps is 0
    there. For every term, the edge of the annotated region is what the edge of the tile is. Without an annotated pixel in
    the batch, all losses and their gradients are 0, and the total too, whatever the weighting.

    Args:
        class_weights: Weight of each class in the NT cross-entropy, background first; None means 1 for each.
        options: Fields of `cellvit.config.models.LossSettings` that differ from the defaults.

    Raises:
        SettingsError: An option is unknown or out of its limits, class weights are not finite values of 0 or more, or an
            adaptive weight starts at 0.
    """

    class_weights: Float[Tensor, " c"] | None
    weights: Float[Tensor, "3"]

    def __init__(self, *, class_weights: Float[Tensor, " c"] | None = None, **options: float | str) -> None:
        super().__init__()
        try:
            self.settings = LossSettings.model_validate(options)
        except ValidationError as error:
            raise settings_error(error, LossSettings) from None
        _check_class_weights(class_weights)
        branches = {name: getattr(self.settings, name) for name in ("np_weight", "hv_weight", "nt_weight")}
        self.register_buffer("class_weights", class_weights)
        self.register_buffer("weights", torch.tensor(list(branches.values()), dtype=torch.float32))
        self.log_variances = _log_variances(branches) if self.settings.weighting == "adaptive" else None

    def forward(
        self,
        maps: HoverMaps,
        instances: Int[Tensor, "b h w"],
        classes: Int[Tensor, "b h w"],
        hv_target: Float[Tensor, "b 2 h w"],
    ) -> LossParts:
        """Loss of a batch of maps; `hv_target` is `cellvit.hover.encode.hv_maps` of `instances`."""
        mask, annotated, chosen = instances != 0, classes != NOT_ANNOTATED, self.settings
        with full_precision(mask.device):
            logits, hv, types, target = maps.np.float(), maps.hv.float(), maps.nt.float(), hv_target.float()
            loss_np = nuclear_loss(logits, mask, annotated)
            hv_l1 = regression_loss(hv, target, mask, kind=chosen.regression)
            gradient = gradient_loss(hv, target, mask)
            magnitude = magnitude_loss(hv, target, mask)
            loss_hv = chosen.hv_regression_weight * hv_l1 + chosen.hv_gradient_weight * gradient
            loss_hv = loss_hv + chosen.hv_magnitude_weight * magnitude
            loss_nt = type_loss(types, classes, self.class_weights)
            total, weights = self._total(torch.stack((loss_np, loss_hv, loss_nt)))
            total = torch.where(annotated.any(), total, 0)  # adaptive weights alone are not 0
        return LossParts(loss_np, loss_hv, hv_l1, gradient, magnitude, loss_nt, total, *weights.detach().unbind())

    def _total(self, losses: Float[Tensor, "3"]) -> tuple[Float[Tensor, ""], Float[Tensor, "3"]]:
        """Weighted total of NP, HV and NT, and the weights."""
        if self.log_variances is None:
            return (self.weights * losses).sum(), self.weights
        weights = torch.exp(-self.log_variances)
        return (weights * losses + self.log_variances / 2).sum(), weights


def regression_loss(
    hv_pred: Float[Tensor, "b 2 h w"],
    hv_target: Float[Tensor, "b 2 h w"],
    mask: Bool[Tensor, "b h w"],
    *,
    kind: Literal["mse", "smooth_l1"],
) -> Float[Tensor, ""]:
    """Mean over nuclear pixels and both channels of the squared or (``smooth_l1``) the smooth absolute difference."""
    compare = F.mse_loss if kind == "mse" else F.smooth_l1_loss
    return _masked_mean(compare(hv_pred, hv_target, reduction="none"), mask)


def gradient_loss(
    hv_pred: Float[Tensor, "b 2 h w"], hv_target: Float[Tensor, "b 2 h w"], mask: Bool[Tensor, "b h w"]
) -> Float[Tensor, ""]:
    """Mean over nuclear pixels of the squared difference of dh/dx and dv/dy.

    The derivative is HoVer-Net's 5 x 5 kernel with weight x / (x^2 + y^2) at offset (x, y), not normalized. It is
    linear, so the difference of the maps is filtered once instead of both maps. Departing from HoVer-Net, the
    difference is 0 outside nuclei and outside the tile; otherwise pixels up to 2 px outside a nucleus would count. Pixels
    that are not annotated are in no nucleus: the kernel finds 0 there, as beyond the edge of the tile, so that a nucleus
    that is cut by the annotated region costs what it costs where it is cut by the tile. Nothing is eroded.
    """
    horizontal = _derivative_kernel(hv_pred)
    kernels = torch.stack((horizontal, horizontal.T)).unsqueeze(1)  # (2, 1, 5, 5): h along x, v along y
    difference = torch.where(_one_channel(mask), hv_pred - hv_target, 0)
    return _masked_mean(F.conv2d(difference, kernels, padding=_SOBEL_PX // 2, groups=2).square(), mask)


def magnitude_loss(
    hv_pred: Float[Tensor, "b 2 h w"], hv_target: Float[Tensor, "b 2 h w"], mask: Bool[Tensor, "b h w"]
) -> Float[Tensor, ""]:
    """Mean over nuclear pixels of (|hv_pred| - |hv_target|)^2, |v| = sqrt(h^2 + v^2 + 1e-8).

    It prevents a decoder that is uncertain about the direction from shrinking its vectors to 0.
    """
    predicted, true = ((hv.square().sum(dim=1) + _MAGNITUDE_EPS).sqrt() for hv in (hv_pred, hv_target))
    return _masked_mean((predicted - true).square().unsqueeze(1), mask)


def nuclear_loss(
    logits: Float[Tensor, "b 2 h w"], mask: Bool[Tensor, "b h w"], annotated: Bool[Tensor, "b h w"]
) -> Float[Tensor, ""]:
    """Cross-entropy plus Dice loss of the nuclear mask, both over annotated pixels; 0 if there is none."""
    target = torch.where(annotated, mask.long(), NOT_ANNOTATED)
    # Both channels are multiplied, so that the sums of `dice_loss` add in the same order as without a mask.
    probability = (logits.softmax(dim=1) * annotated.unsqueeze(1))[:, 1]
    return _mean_cross_entropy(logits, target) + dice_loss(probability, mask)


def dice_loss(probability: Float[Tensor, "b h w"], mask: Bool[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """1 - Dice of the nuclear probability over all pixels of the batch; 0 if both sides are empty.

    Departing from HoVer-Net, there is no such term for the background; the cross-entropy covers it.
    """
    shared = 2 * (probability * mask).sum()
    return 1 - (shared + _DICE_SMOOTHING) / (probability.sum() + mask.sum() + _DICE_SMOOTHING)


def type_loss(
    logits: Float[Tensor, "b c h w"], classes: Int[Tensor, "b h w"], class_weights: Float[Tensor, " c"] | None = None
) -> Float[Tensor, ""]:
    """Mean cross-entropy over annotated pixels, weighted by their true class; 0 if no pixel has a weight above 0."""
    target = classes.long()
    if class_weights is None:
        return _mean_cross_entropy(logits, target)
    summed = F.cross_entropy(logits, target, weight=class_weights, ignore_index=NOT_ANNOTATED, reduction="sum")
    weight_of = F.pad(class_weights, (0, NOT_ANNOTATED + 1 - len(class_weights)))  # 0 where not annotated
    weight = weight_of[target].sum()
    return summed / torch.where(weight > 0, weight, 1)


def _mean_cross_entropy(logits: Float[Tensor, "b k h w"], target: Int[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """Mean cross-entropy over annotated pixels; 0, with a gradient of 0, if there is none."""
    mean = F.cross_entropy(logits, target, ignore_index=NOT_ANNOTATED)  # 0 / 0 without such pixels
    return torch.where((target != NOT_ANNOTATED).any(), mean, 0)


def _masked_mean(values: Float[Tensor, "b c h w"], mask: Bool[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """Mean over the pixels of the mask and all channels; 0, with a gradient of 0, if the mask is empty."""
    inside = _one_channel(mask)
    return torch.where(inside, values, 0).sum() / (inside.sum() * values.shape[1]).clamp(min=1)


def _one_channel(mask: Bool[Tensor, "b h w"]) -> Bool[Tensor, "b 1 h w"]:
    """The mask with a channel axis; (b, 1, h, w) and numeric masks are accepted too."""
    return mask.bool().reshape(len(mask), 1, *mask.shape[-2:])


def _derivative_kernel(like: Float[Tensor, "..."]) -> Float[Tensor, "k k"]:
    """Kernel of the derivative along x, 0 in the centre, on the device and in the dtype of `like`."""
    offset = torch.arange(_SOBEL_PX, device=like.device, dtype=like.dtype) - _SOBEL_PX // 2
    squared = offset.square() + offset.square().unsqueeze(1)
    return offset / squared.clamp(min=1)


def _log_variances(branches: dict[str, float]) -> nn.Parameter:
    for name, weight in branches.items():
        if weight == 0:
            raise SettingsError(
                f"adaptive weighting starts from the loss weight {name}, which must be above 0, found 0. "
                "Set it above 0, or use fixed weighting to leave the branch out."
            )
    return nn.Parameter(torch.tensor([-math.log(weight) for weight in branches.values()]))


def _check_class_weights(weights: Float[Tensor, " c"] | None) -> None:
    if weights is None:
        return
    if weights.ndim != 1 or len(weights) < 2 or not (weights.isfinite() & (weights >= 0)).all():
        raise SettingsError(
            "class weights must be a finite value of 0 or more for each class, background first, "
            f"found {weights.tolist()}."
        )
