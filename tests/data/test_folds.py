"""Folds that are made keep patients together, are alike, and depend on names and the seed alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellvit.config.data import OFFICIAL_SPLITS, Split
from cellvit.data.folds import folds_of, splits_for
from cellvit.errors import SettingsError


def cohort(n_patients: int, *, seed: int = 0) -> tuple[list[str], list[str], np.ndarray]:
    """Patients of three organs with 1 to 12 images each, and nuclei of three classes, the last of them rare."""
    rng = np.random.default_rng(seed)
    groups, organs = [], []
    for patient in range(n_patients):
        n = int(rng.integers(1, 13))
        groups += [f"P{patient}"] * n
        organs += [("Brain", "Skin", "Colon")[patient % 3]] * n
    counts = rng.poisson((40, 15, 1), (len(groups), 3))
    return groups, organs, counts


def test_tiles_of_a_patient_are_in_one_fold():
    groups, organs, counts = cohort(30)

    fold = folds_of(groups, organs, counts, k=5, seed=0).fold

    assert set(fold.tolist()) == {1, 2, 3, 4, 5}
    assert len(set(zip(groups, fold.tolist(), strict=True))) == 30


@pytest.mark.parametrize("k", [3, 5])
def test_folds_are_alike_in_tiles_organs_and_classes(k):
    groups, organs, counts = cohort(90)

    made = folds_of(groups, organs, counts, k=k, seed=0)

    shares = [np.bincount(made.fold, minlength=k + 1)[1:] / len(groups)]
    for organ in set(organs):
        rows = np.array(organs) == organ
        shares.append(np.bincount(made.fold[rows], minlength=k + 1)[1:] / rows.sum())
    for of_class in counts.T:
        shares.append(np.bincount(made.fold, weights=of_class, minlength=k + 1)[1:] / of_class.sum())
    assert np.abs(np.array(shares) - 1 / k).max() < 0.2 / k
    assert made.warnings == ()


def test_the_order_of_rows_does_not_matter():
    groups, organs, counts = cohort(25)
    shuffled = np.random.default_rng(1).permutation(len(groups))

    straight = folds_of(groups, organs, counts, k=4, seed=3).fold
    other = folds_of([groups[i] for i in shuffled], [organs[i] for i in shuffled], counts[shuffled], k=4, seed=3).fold

    assert np.array_equal(other, straight[shuffled])


def test_another_seed_gives_other_folds():
    groups, organs, counts = cohort(25)

    first, again, other = (folds_of(groups, organs, counts, k=3, seed=seed).fold for seed in (0, 0, 1))

    together = [fold[:, None] == fold[None] for fold in (first, other)]
    assert np.array_equal(first, again)
    assert not np.array_equal(*together)  # not the same folds under other numbers


def test_an_organ_with_three_patients_is_in_each_of_three_folds():
    groups, organs, counts = cohort(40)
    groups += ["R1", "R2", "R3"]
    organs += ["Eye"] * 3
    counts = np.vstack([counts, np.full((3, 3), 5)])

    fold = folds_of(groups, organs, counts, k=3, seed=0).fold

    assert sorted(fold[-3:].tolist()) == [1, 2, 3]


def test_an_organ_with_fewer_patients_than_folds_is_told():
    groups, organs, counts = cohort(40)
    groups += ["R1", "R2"]
    organs += ["Eye"] * 2
    counts = np.vstack([counts, np.full((2, 3), 5)])

    made = folds_of(groups, organs, counts, k=3, seed=0)

    (warning,) = made.warnings
    (missing,) = {1, 2, 3} - set(made.fold[-2:].tolist())
    assert f"nothing of organ Eye in fold {missing}: 2 patients have it, and there are 3 folds" in warning


def test_a_class_that_one_patient_has_is_told():
    counts = np.zeros((6, 2), int)
    counts[:, 0], counts[0, 1] = 5, 9

    made = folds_of(list("abcdef"), [""] * 6, counts, k=3, seed=0, class_names=("Tumour", "Mitosis"))

    (warning,) = made.warnings
    assert "nothing of class Mitosis in folds" in warning
    assert "1 patient has it" in warning


def test_fewer_patients_than_folds_are_refused_with_the_way_out():
    with pytest.raises(SettingsError, match=r"3 folds need at least 3 patients.*found 2: a, b.*tiles.csv"):
        folds_of(["a", "b", "a"], [""] * 3, np.ones((3, 1), int), k=3, seed=0)


@settings(max_examples=30)
@given(st.integers(3, 6), st.integers(0, 20), st.integers(0, 10_000))
def test_no_fold_is_empty(k, more, seed):
    groups, organs, counts = cohort(k + more, seed=seed)

    fold = folds_of(groups, organs, counts, k=k, seed=seed).fold

    assert set(fold.tolist()) == set(range(1, k + 1))


def test_splits_of_three_folds_have_the_roles_of_the_official_ones_and_each_fold_tests_once():
    splits = splits_for(3)

    assert splits["1"] == OFFICIAL_SPLITS["1"]
    assert sorted(split["test"] for split in splits.values()) == [[1], [2], [3]]


@pytest.mark.parametrize("k", [3, 4, 5, 10])
def test_every_fold_tests_once_and_validates_once(k):
    splits = splits_for(k)

    for role in ("test", "validate"):
        assert sorted(split[role] for split in splits.values()) == [[fold] for fold in range(1, k + 1)]
    for split in splits.values():
        assert len(split["train"]) == k - 2
        Split.model_validate(split)


def test_two_folds_are_refused_with_the_reason():
    with pytest.raises(SettingsError, match="must be at least 3, found 2: one fold trains, one chooses"):
        splits_for(2)
