"""Novelty models: which tiles are unlike the training data, from simulated tokens and from real tiles."""

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.evaluation.novelty import Tokens, fitted, shrunk_covariance, why_absent, with_shares, with_threshold_of
from cellvit.formats.novelty import Novelty, NoveltyHeader
from cellvit.formats.provenance import Provenance
from cellvit.models.encoder import Encoder, load_encoder

DIM = 12
ROLES = ("train", "validate", "test")


def tokens(cls: np.ndarray, organ: str = "Colon") -> Tokens:
    return Tokens(cls.astype(np.float32), (organ,) * len(cls))


def gaussian(n: int, seed: int, scales: np.ndarray | None = None) -> np.ndarray:
    """Tokens whose directions have standard deviations from 0.1 to 10."""
    return np.random.default_rng(seed).normal(size=(n, DIM)) * (
        np.geomspace(0.1, 10, DIM) if scales is None else scales
    )


def model(train: Tokens, validate: Tokens) -> Novelty:
    header = NoveltyHeader(provenance=Provenance(), split="1", status="fitted")
    return with_threshold_of(fitted(header, train), validate)


@pytest.fixture(scope="module")
def simulated() -> Novelty:
    return model(tokens(gaussian(2000, 1)), tokens(gaussian(1000, 2)))


def test_one_validation_tile_in_a_hundred_lies_above_the_threshold(simulated):
    distances = simulated.distances(tokens(gaussian(1000, 2)).cls)

    assert np.count_nonzero(distances > simulated.threshold) == 9  # the threshold is itself a distance
    assert np.mean(simulated.unlike(gaussian(4000, 3))) == pytest.approx(0.01, abs=0.006)


def test_a_direction_in_which_training_tiles_hardly_vary_counts_more_than_one_in_which_they_do(simulated):
    moved = np.zeros((2, DIM))
    moved[0, 0] = moved[1, -1] = 5

    unusual, usual = simulated.distances(moved)

    assert unusual > 3 * simulated.threshold
    assert usual < simulated.threshold


def test_distances_do_not_depend_on_the_scale_of_each_value_of_the_tokens():
    train, validate, test = (gaussian(500, seed, np.ones(DIM)) for seed in (1, 2, 3))
    scales = np.geomspace(0.3, 3, DIM)

    plain, scaled = (model(tokens(train * by), tokens(validate * by)).distances(test * by) for by in (1, scales))

    assert plain == pytest.approx(scaled, rel=1e-3)


def test_a_value_that_is_constant_on_the_training_tiles_does_not_decide_alone():
    train, validate, test = (gaussian(500, seed, np.ones(DIM)) for seed in (1, 2, 3))
    train[:, 0] = validate[:, 0] = 0
    test[:, 0] = 1e-3

    assert model(tokens(train), tokens(validate)).unlike(test).mean() < 0.05


def test_fewer_tiles_than_values_of_a_token_still_give_finite_distances():
    few = model(tokens(gaussian(6, 1, np.ones(DIM))), tokens(gaussian(4, 2, np.ones(DIM))))

    assert np.isfinite(few.distances(gaussian(50, 3))).all()
    assert 0 < few.header.shrinkage <= 1


def test_shrinkage_is_strong_for_few_tiles_and_vanishes_for_many():
    few, many = (shrunk_covariance(gaussian(n, 5)).shrinkage for n in (20, 20_000))

    assert few > 10 * many
    assert many < 0.01


def test_the_shrinkage_is_that_of_the_formula_of_ledoit_and_wolf_written_out():
    x = gaussian(30, 6)
    x -= x.mean(axis=0)
    sample = x.T @ x / 30
    target = np.trace(sample) / DIM * np.eye(DIM)
    error = sum(((np.outer(row, row) - sample) ** 2).sum() for row in x) / 30**2

    found = shrunk_covariance(x)

    assert found.shrinkage == pytest.approx(error / ((sample - target) ** 2).sum())
    assert np.trace(found.covariance) == pytest.approx(np.trace(sample))


def test_shares_are_counted_by_role_and_organ(simulated):
    far = Tokens(np.full((2, DIM), 100, np.float32), ("Colon", "Liver"))
    near = Tokens(np.zeros((1, DIM), np.float32), ("",))

    shares = with_shares(simulated, {"train": near, "validate": far, "test": tokens(np.empty((0, DIM)))}).header.shares

    assert [(one.role, one.organ, one.n, one.n_flagged) for one in shares] == [
        ("train", "", 1, 0),
        ("validate", "", 2, 2),
        ("validate", "Colon", 1, 1),
        ("validate", "Liver", 1, 1),
    ]


@pytest.mark.parametrize(
    ("train", "validate", "reason"),
    [
        pytest.param(gaussian(1, 1), gaussian(3, 2), "1 training tiles: at least 2 are needed", id="one_tile"),
        pytest.param(np.ones((3, DIM)), gaussian(3, 2), "of all training tiles are equal", id="equal_tiles"),
        pytest.param(gaussian(3, 1), np.empty((0, DIM)), "no validation tiles", id="no_validation"),
        pytest.param(gaussian(3, 1), gaussian(3, 2), "", id="enough"),
    ],
)
def test_the_reason_for_an_absent_model_is_said(train, validate, reason):
    assert reason in why_absent(tokens(train), tokens(validate))
    assert bool(reason) == bool(why_absent(tokens(train), tokens(validate)))


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder(EncoderSettings(preset="efficientnet-lite0"), FeaturesSettings(input_px=256), "cpu")


@pytest.fixture(scope="module")
def real_images(repository: Path) -> dict[str, np.ndarray]:
    """Real tiles by role: the patients of each organ are dealt in turn, as in the folds that are made of these tiles."""
    folder = repository.parent / "shared" / "real_tiles"
    with (folder / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    dealt: Counter[str] = Counter()
    role_of: dict[tuple[str, str], str] = {}
    images: dict[str, list[np.ndarray]] = {role: [] for role in ROLES}
    for row in rows:
        patient = (row["organ"], row["source"] + row["patient"])
        if patient not in role_of:
            role_of[patient] = ROLES[dealt[row["organ"]] % len(ROLES)]
            dealt[row["organ"]] += 1
        (path,) = (folder / "images").glob(f"{row['tile_id']}.*")
        images[role_of[patient]].append(cv2.imread(str(path))[..., ::-1])
    return {role: np.stack(found) for role, found in images.items()}


def cls_of(encoder: Encoder, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        blocks = torch.from_numpy(np.ascontiguousarray(images)).split(32)
        return torch.cat([encoder(block).cls.float() for block in blocks]).numpy()


@pytest.fixture(scope="module")
def real(encoder: Encoder, real_images: dict[str, np.ndarray]) -> Novelty:
    train, validate = (tokens(cls_of(encoder, real_images[role])) for role in ("train", "validate"))
    return model(train, validate)


UNLIKE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "inverted_colours": lambda tiles: 255 - tiles,
    "white_noise": lambda tiles: np.random.default_rng(0).integers(0, 256, tiles.shape, np.uint8),
    "constant_white": lambda tiles: np.full_like(tiles, 255),
    "constant_pink": lambda tiles: np.broadcast_to(tiles.mean(axis=(1, 2), keepdims=True), tiles.shape).astype(
        np.uint8
    ),
}


@pytest.mark.real_tiles
@pytest.mark.slow
@pytest.mark.parametrize("change", UNLIKE.values(), ids=UNLIKE)
def test_tiles_that_are_no_tissue_exceed_the_threshold_of_real_tiles(change, encoder, real, real_images):
    changed = change(real_images["test"][::8])

    distances = real.distances(cls_of(encoder, changed))

    assert (distances > real.threshold).all()


@pytest.mark.real_tiles
@pytest.mark.slow
def test_most_real_tiles_of_other_patients_do_not_exceed_it(encoder, real, real_images):
    assert real.unlike(cls_of(encoder, real_images["test"][::2])).mean() < 0.1
