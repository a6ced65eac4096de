import logging

import numpy as np
import pytest

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
        pytest.param(IDENTITY_ONLY, {}, ({0}, set(range(8))), id="tokens_of_the_identity_are_rotated"),
        pytest.param(IDENTITY_ONLY, {"augment": False}, ({0}, {0}), id="none"),
        pytest.param(EIGHT, {}, (set(range(8)), {0}), id="all_eight_are_read_as_they_are"),
        pytest.param(EIGHT, {"augment": False}, ({0}, {0}), id="none_of_eight"),
        pytest.param(EIGHT, {"views": "rotated"}, ({0}, set(range(8))), id="rotated_although_eight_are_stored"),
        pytest.param(TWO, {}, ({0, 1}, {0}), id="chosen_geometries_only"),
        pytest.param(COLOURS, {}, ({0, 1, 2}, set(range(8))), id="colours_with_rotated_tokens"),
        pytest.param(COLOURS, {"views": "stored"}, ({0, 1, 2}, {0}), id="colours_only"),
        pytest.param(COLOURS, {"views": "rotated"}, ({0}, set(range(8))), id="rotated_although_colours_are_stored"),
    ],
)
def test_views_are_sampled_as_store_and_settings_say(stored, settings, expected):
    (batch,) = augmentation(stored, **settings).sampled([np.arange(400)], np.random.default_rng(0))

    assert (set(batch.views.stored.tolist()), set(batch.views.transforms.tolist())) == expected


def test_views_that_are_not_stored_are_refused_with_the_fix():
    with pytest.raises(StaleFileError, match=r"the identity only\. Fix: set features\.views: \[dihedral8\]"):
        augmentation(IDENTITY_ONLY, views="stored")


def test_an_approximation_is_logged_once_with_its_fix(caplog):
    with caplog.at_level(logging.INFO, logger="cellvit.training.augmentation"):
        made = augmentation(IDENTITY_ONLY)
        made.sampled([np.arange(4)], np.random.default_rng(0))

    (line,) = (record.getMessage() for record in caplog.records)
    assert "an approximation" in line
    assert "features.views=[dihedral8]" in line


def test_rows_stay_in_their_batches_and_samples_repeat_with_the_seed():
    plan = [np.array([0, 3]), np.array([5])]

    first, again = (augmentation(EIGHT).sampled(plan, np.random.default_rng(2)) for _ in range(2))

    assert [batch.rows.tolist() for batch in first] == [[0, 3], [5]]
    assert all(np.array_equal(a.views.stored, b.views.stored) for a, b in zip(first, again, strict=True))
