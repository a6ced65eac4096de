import numpy as np
import pytest
import torch

from cellvit.training.class_weights import MOST_TO_LEAST, pixel_counts, pixel_weights


def test_rare_classes_weigh_more_within_bounds():
    weights = pixel_weights(np.array([10**9, 10**6, 10**5, 10**4, 10, 10**6]))

    assert weights.argmin() == 0
    assert float(weights.max() / weights.min()) == pytest.approx(MOST_TO_LEAST)
    assert float(weights.mean()) == pytest.approx(1)


def test_a_class_without_pixels_weighs_as_the_rarest():
    weights = pixel_weights(np.array([900, 100, 400, 400, 0, 400]))

    assert weights[4] == weights[1]


def test_no_pixels_at_all_give_equal_weights():
    assert torch.equal(pixel_weights(np.zeros(6, np.int64)), torch.ones(6))


def test_pixels_are_counted_on_the_chosen_rows(family_data):
    counts = pixel_counts(family_data.tiles, np.array([7]))

    assert counts.tolist() == [256**2, 0, 0, 0, 0, 0]
