"""Gaussian blur of tiles, each with its own strength, as an imitation of scanners that are less sharp or out of focus."""

from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8
from torch import Tensor

_RADIUS_PX: Final = 6
"""Radius of the kernel: three standard deviations of the strongest blur that the settings allow (2 px). It is the same for
every strength, so that shapes do not vary from batch to batch."""

_LEAST_PX: Final = 1e-3
"""Standard deviation instead of 0; its kernel is 1 in the centre and 0 elsewhere."""


def blurred(images: UInt8[Tensor, "b h w 3"], kernels: Float32[Tensor, "b k"]) -> UInt8[Tensor, "b h w 3"]:
    """Tiles convolved with the Gaussian of each (`gaussian_kernels`) along rows and columns; borders are reflected."""
    b, h, w, c = images.shape
    kernels = kernels[:, None].expand(b, c, -1).flatten(0, 1)  # (b * c, k)
    planes = images.permute(0, 3, 1, 2).reshape(1, b * c, h, w).float()
    planes = F.pad(planes, (_RADIUS_PX,) * 4, mode="reflect")
    planes = F.conv2d(planes, kernels[:, None, None, :], groups=b * c)  # along rows
    planes = F.conv2d(planes, kernels[:, None, :, None], groups=b * c)  # along columns
    return planes.reshape(b, c, h, w).permute(0, 2, 3, 1).round().clamp(0, 255).to(torch.uint8).contiguous()


def gaussian_kernels(sigma_px: Float32[np.ndarray, " b"]) -> Float32[np.ndarray, "b k"]:
    """Weights of Gaussians of standard deviation 0 to 2 at -radius..radius; the sum of each is 1."""
    offset = np.arange(-_RADIUS_PX, _RADIUS_PX + 1)
    sigma = np.maximum(sigma_px, _LEAST_PX).astype(np.float64)[:, None]
    weights = np.exp(-((offset / sigma) ** 2) / 2)
    kernels: Float32[np.ndarray, "b k"] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return kernels
