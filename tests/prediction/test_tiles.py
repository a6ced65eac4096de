"""Nuclei of arrays of tiles."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_bundle import discs

from cellvit.errors import ContractError
from cellvit.formats.bundle import read_bundle
from cellvit.metrics import panoptic_quality
from cellvit.prediction.models import Ensemble, load_ensemble
from cellvit.prediction.tiles import segment_tiles


@pytest.fixture(scope="module")
def models(small_bundle: Path) -> Ensemble:
    return load_ensemble([read_bundle(small_bundle)], torch.device("cpu"))


def test_the_nuclei_of_each_tile_are_found_in_the_order_of_the_tiles(models: Ensemble) -> None:
    drawn = [discs(256, 256, seed) for seed in (0, 1)]

    found = segment_tiles(models, np.stack([image for image, _, _ in drawn]))

    qualities = [panoptic_quality(truth, one.instances).pq for (_, truth, _), one in zip(drawn, found, strict=True)]
    assert min(qualities) > 0.8


def test_no_tiles_have_no_nuclei(models: Ensemble) -> None:
    assert segment_tiles(models, np.zeros((0, 256, 256, 3), np.uint8)) == []


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1, 256, 256, 3), np.float32),
        ((1, 512, 512, 3), np.uint8),
        ((256, 256, 3), np.uint8),
        ((1, 256, 256, 4), np.uint8),
    ],
    ids=["float", "large", "single", "rgba"],
)
def test_other_arrays_are_refused(models: Ensemble, shape: tuple[int, ...], dtype: type) -> None:
    with pytest.raises(ContractError, match=r"expected an array of uint8 with the shape \(n, 256, 256, 3\), found"):
        segment_tiles(models, np.zeros(shape, dtype))
