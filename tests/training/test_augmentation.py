import logging

import numpy as np
import pytest
import torch

from cellvit.config.models import TrainingSettings
from cellvit.data.views import View
from cellvit.errors import StaleFileError
from cellvit.inference.stored_views import IDENTITY_ONLY, StoredViews
from cellvit.training.augmentation import Augmentation, augmentation_of

EIGHT = StoredViews(tuple(View(geometry, 0) for geometry in range(8)))
COLOURS = StoredViews((View(0, 0), View(0, 1), View(0, 2)), colour_sigma=0.05)
TWO = StoredViews((View(0, 0), View(4, 0)))


def augmentation(stored: StoredViews, **settings: object) -> Augmentation:
    return augmentation_of(TrainingSettings(**settings), stored)


@pytest.mark.parametrize(
    ("stored", "settings", "expected"),
    [
        pytest.param(IDENTITY_ONLY, {}, ({0}, {0}), id="identity_alone_is_never_rotated_by_default"),
        pytest.param(IDENTITY_ONLY, {"views": "rotated"}, ({0}, set(range(8))), id="rotated_where_asked_for"),
        pytest.param(EIGHT, {}, (set(range(8)), {0}), id="all_eight_are_read_as_they_are"),
        pytest.param(EIGHT, {"augment": False}, ({0}, {0}), id="none_of_eight"),
        pytest.param(EIGHT, {"views": "rotated"}, ({0}, set(range(8))), id="rotated_although_eight_are_stored"),
        pytest.param(TWO, {}, ({0, 1}, {0}), id="chosen_geometries_only"),
        pytest.param(COLOURS, {}, ({0, 1, 2}, {0}), id="colours_only"),
        pytest.param(COLOURS, {"views": "rotated"}, ({0}, set(range(8))), id="rotated_although_colours_are_stored"),
    ],
)
def test_views_are_sampled_as_store_and_settings_say(stored, settings, expected):
    views = augmentation(stored, **settings).sampled(np.arange(400), np.random.default_rng(0)).views

    assert (set(views.stored.tolist()), set(views.transforms.tolist())) == expected
    assert views.stain_mixes is None
    assert views.blur_px is None


def test_views_that_are_not_stored_are_refused_with_the_fix():
    with pytest.raises(StaleFileError, match=r"the identity only\. Fix: set features\.views: \[dihedral8\]"):
        augmentation(IDENTITY_ONLY, views="stored")


@pytest.mark.parametrize(
    ("views", "words"),
    [pytest.param("rotated", "an approximation", id="rotated"), pytest.param("auto", "no flips", id="none")],
)
def test_what_augmentation_lacks_is_logged_once_with_its_fix(caplog, views, words):
    with caplog.at_level(logging.INFO, logger="cellvit.training.augmentation"):
        made = augmentation(IDENTITY_ONLY, views=views)
        made.sampled(np.arange(4), np.random.default_rng(0))

    (line,) = (record.getMessage() for record in caplog.records)
    assert words in line
    assert "features.views=[dihedral8]" in line


def test_everything_that_is_sampled_repeats_with_the_generator_and_differs_from_tile_to_tile():
    made = augmentation(EIGHT, image_jitter=0.2, image_blur=1.5)

    first, again, other = (made.sampled(np.array([0, 3, 5]), np.random.default_rng(seed)) for seed in (2, 2, 3))

    assert first.rows.tolist() == [0, 3, 5]
    for name in ("stored", "stain_mixes", "blur_px"):
        one, two, three = (getattr(batch.views, name) for batch in (first, again, other))
        assert np.array_equal(one, two)
        assert not np.array_equal(one, three)
        assert len(np.unique(one, axis=0)) > 1 or name == "stored"
    assert first.views.blur_px.max() <= 1.5


def test_no_image_and_no_token_is_changed_without_augmentation():
    made = augmentation(EIGHT, augment=False, image_jitter=0.2, image_blur=1.5, token_noise=0.5)

    views = made.sampled(np.arange(4), np.random.default_rng(0)).views

    assert (views.stain_mixes, views.blur_px) == (None, None)
    tokens = torch.ones(1, 1, 2, 2, 8, dtype=torch.float16)
    assert made.with_noise(tokens) is tokens


def test_noise_is_in_proportion_to_the_spread_of_each_token():
    torch.manual_seed(0)
    spread = torch.tensor([0.1, 1.0, 10.0]).reshape(3, 1, 1, 1, 1)
    tokens = (5 + spread * torch.randn(3, 1, 4, 4, 512)).half()

    noise = augmentation(EIGHT, token_noise=0.3).with_noise(tokens) - tokens.float()

    assert (noise.flatten(1).std(dim=1) / spread.flatten()).tolist() == pytest.approx([0.3] * 3, rel=0.05)
    assert noise.flatten(1).mean(dim=1).abs().div(spread.flatten()).max() < 0.02
