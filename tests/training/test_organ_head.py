import math

import numpy as np
import pytest
import torch

from cellvit.config.models import OrganHeadSettings
from cellvit.models.organ_head import OrganHead
from cellvit.taxonomy import ORGANS
from cellvit.training.organ_head import OrganTiles, fit_organ_head, fit_temperature
from cellvit.training.resuming import SelectedModel
from cellvit.training.trainable import as_tensors

CPU = torch.device("cpu")
BREAST, COLON, LIVER = (ORGANS.index(name) for name in ("Breast", "Colon", "Liver"))


def tiles(n: int, *organs: int, seed: int = 0, spread: float = 0.6) -> OrganTiles:
    """`n` tiles of each organ around a centre of its own, far from 0 as real CLS tokens may be."""
    rng = np.random.default_rng(seed)
    organ = np.repeat(np.array(organs, np.int64), n)
    centres = np.random.default_rng(99).normal(size=(len(ORGANS), 12))
    cls = 5 + centres[organ] + spread * rng.normal(size=(len(organ), 12))
    return OrganTiles(cls.astype(np.float32), organ, len(ORGANS))


NONE = OrganTiles(np.zeros((0, 12), np.float32), np.zeros(0, np.int64), len(ORGANS))
SETTINGS = OrganHeadSettings(epochs=15, hidden=16, batch_size=16, learning_rate=1e-2)


def probabilities(model: SelectedModel, of: OrganTiles) -> np.ndarray:
    head = OrganHead(12, SETTINGS.hidden, len(ORGANS)).eval()
    head.load_state_dict(as_tensors(model.weights))
    with torch.inference_mode():
        return head.probabilities(torch.from_numpy(of.cls)).numpy()


def test_organs_are_told_apart_on_unseen_tiles():
    model = fit_organ_head(
        tiles(40, BREAST, COLON, LIVER), tiles(10, BREAST, COLON, LIVER, seed=1), SETTINGS, seed=0, device=CPU
    )

    test = tiles(20, BREAST, COLON, LIVER, seed=2)
    assert (probabilities(model, test).argmax(axis=1) == test.organ).mean() > 0.95
    assert model.selection == "best validation balanced_accuracy"
    assert model.weights["temperature"] > 0


def test_a_rare_organ_is_found_beside_a_common_one():
    common, rare = tiles(200, BREAST, spread=1.0), tiles(6, COLON, spread=1.0)
    train = OrganTiles(np.concatenate([common.cls, rare.cls]), np.concatenate([common.organ, rare.organ]), len(ORGANS))

    model = fit_organ_head(train, tiles(20, BREAST, COLON, seed=1), SETTINGS, seed=0, device=CPU)

    assert model.record.validate["balanced_accuracy"] > 0.9


def test_an_organ_without_training_tiles_is_never_predicted():
    model = fit_organ_head(tiles(20, BREAST, COLON), tiles(5, BREAST, LIVER, seed=1), SETTINGS, seed=0, device=CPU)

    assert probabilities(model, tiles(10, LIVER, seed=2))[:, LIVER].max() == 0
    assert model.record.validate["balanced_accuracy"] <= 0.5


def test_without_validation_tiles_the_last_epoch_is_selected_uncalibrated():
    model = fit_organ_head(tiles(20, BREAST, COLON), NONE, SETTINGS, seed=0, device=CPU)

    assert model.record.epochs == SETTINGS.epochs
    assert model.weights["temperature"] == 1
    assert math.isnan(model.record.validate["accuracy"])


def test_one_training_tile_is_enough():
    model = fit_organ_head(tiles(1, COLON), NONE, SETTINGS, seed=0, device=CPU)

    assert probabilities(model, tiles(3, COLON, seed=1))[:, COLON] == pytest.approx(1)


def test_the_same_seed_gives_the_same_weights_bit_for_bit():
    first, again = (
        fit_organ_head(tiles(20, BREAST, COLON), tiles(5, BREAST, COLON, seed=1), SETTINGS, seed=3, device=CPU)
        for _ in range(2)
    )

    assert all(np.array_equal(value, again.weights[name]) for name, value in first.weights.items())


def test_the_temperature_undoes_overconfidence():
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(4000, 3)))
    truth = np.array([rng.choice(3, p=p) for p in logits.softmax(dim=1).numpy()])

    found = fit_temperature(5 * logits, truth, torch.ones(3, dtype=torch.bool))

    assert found == pytest.approx(5, rel=0.1)


def test_the_temperature_of_a_head_that_is_always_right_stays_in_bounds():
    logits = 50 * torch.eye(3)

    assert 0.05 <= fit_temperature(logits, np.arange(3), torch.ones(3, dtype=torch.bool)) <= 20


def test_tiles_of_organs_without_training_tiles_are_left_out_of_the_temperature():
    trained = torch.tensor([True, True, False])

    assert fit_temperature(torch.zeros(2, 3), np.array([2, 2]), trained) == 1
