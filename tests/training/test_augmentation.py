import logging
from pathlib import Path

import numpy as np
import pytest

from cellvit.config.models import TrainingSettings
from cellvit.data.views import View
from cellvit.errors import StaleFileError
from cellvit.inference.stored_views import IDENTITY_ONLY, StoredViews
from cellvit.training.augmentation import Augmentation, augmentation_of

PATH = Path("families/digestive/features.h5")
EIGHT = StoredViews(tuple(View(geometry, 0) for geometry in range(8)))
COLOURS = StoredViews((View(0, 0), View(0, 1), View(0, 2)), colour_sigma=0.05)
TWO = StoredViews((View(0, 0), View(4, 0)))


def augmentation(stored: StoredViews, **settings: object) -> Augmentation:
    return augmentation_of(TrainingSettings(**settings), stored, PATH)


def drawn(augmentation: Augmentation, n: int = 400) -> tuple[set[int], set[int]]:
    """Stored views and turns that occur."""
    (batch,) = augmentation.drawn([np.arange(n)], np.random.default_rng(0))
    return set(batch.views.stored.tolist()), set(batch.views.turns.tolist())


@pytest.mark.parametrize(
    ("stored", "settings", "expected"),
    [
        pytest.param(IDENTITY_ONLY, {}, ({0}, set(range(8))), id="cached_tokens_are_turned"),
        pytest.param(IDENTITY_ONLY, {"augment": False}, ({0}, {0}), id="none"),
        pytest.param(EIGHT, {}, (set(range(8)), {0}), id="all_eight_are_read_as_they_are"),
        pytest.param(EIGHT, {"augment": False}, ({0}, {0}), id="none_of_eight"),
        pytest.param(EIGHT, {"views": "turned"}, ({0}, set(range(8))), id="turned_though_eight_are_there"),
        pytest.param(TWO, {}, ({0, 1}, {0}), id="chosen_geometries_alone"),
        pytest.param(COLOURS, {}, ({0, 1, 2}, set(range(8))), id="colours_with_turned_tokens"),
        pytest.param(COLOURS, {"views": "stored"}, ({0, 1, 2}, {0}), id="colours_alone"),
        pytest.param(COLOURS, {"views": "turned"}, ({0}, set(range(8))), id="turned_though_colours_are_there"),
    ],
)
def test_views_are_drawn_from_what_the_store_holds_and_the_settings_ask(stored, settings, expected):
    assert drawn(augmentation(stored, **settings)) == expected


def test_views_that_are_asked_for_and_not_there_are_refused_with_the_remedy():
    with pytest.raises(StaleFileError) as caught:
        augmentation(IDENTITY_ONLY, views="stored")

    assert str(PATH) in str(caught.value)
    assert "the file has only identity" in str(caught.value)
    assert '{"views": ["dihedral8"]}' in str(caught.value)


def test_an_approximation_says_so_once_and_names_the_remedy(caplog):
    with caplog.at_level(logging.INFO, logger="cellvit.training.augmentation"):
        made = augmentation(IDENTITY_ONLY)
        drawn(made)
        drawn(made)

    (line,) = (record.getMessage() for record in caplog.records)
    assert "an approximation" in line
    assert "features.views=[dihedral8]" in line


def test_every_row_keeps_its_batch_and_draws_repeat_with_the_seed():
    plan = [np.array([0, 3]), np.array([5])]

    first, again = (augmentation(EIGHT).drawn(plan, np.random.default_rng(2)) for _ in range(2))

    assert [batch.rows.tolist() for batch in first] == [[0, 3], [5]]
    assert all(np.array_equal(a.views.stored, b.views.stored) for a, b in zip(first, again, strict=True))
