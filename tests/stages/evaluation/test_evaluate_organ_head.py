import math

import numpy as np
import pytest
import torch

from cellvit.errors import IntegrityError
from cellvit.formats.features import open_features
from cellvit.inference.cls_tokens import read_cls
from cellvit.inference.organs import load_organ_head
from cellvit.taxonomy import ORGANS

TEST_ORGANS = ["Colon", "Stomach", "Skin", "Colon", "Liver", "Skin"]


@pytest.fixture(scope="module")
def written(write_run):
    return write_run({3: TEST_ORGANS}, {})


@pytest.fixture
def run(written, copy_run):
    return copy_run(written)


def test_the_values_are_those_of_the_predicted_organs(run) -> None:
    run.write_organ_head("Colon", "Skin", "Stomach")
    head = load_organ_head(run.checkpoint("organ_head"), torch.device("cpu"))
    with open_features(run.features(3)[0]) as features, torch.inference_mode():
        cls = torch.from_numpy(read_cls(features, np.arange(len(TEST_ORGANS))))
        predicted = [ORGANS[number] for number in head.module.probabilities(cls).argmax(dim=1).tolist()]
    right = [organ == other for organ, other in zip(predicted, TEST_ORGANS, strict=True)]

    evaluation = run.evaluate_organ_head()

    assert (evaluation.status, evaluation.n_tiles, evaluation.temperature) == ("evaluated", 6, 1)
    assert (evaluation.values["accuracy"].value, evaluation.values["accuracy"].n) == (pytest.approx(np.mean(right)), 6)
    assert evaluation.values["accuracy_majority"].value == pytest.approx(2 / 6)
    assert (evaluation.recall["Skin"].value, evaluation.recall["Skin"].n) == (np.mean([right[2], right[5]]), 2)
    assert sum(map(sum, evaluation.confusion)) == 6
    assert set(evaluation.organ_names) == {*TEST_ORGANS, *predicted}
    assert evaluation.unseen == {"Liver": 1}
    assert evaluation.provenance.marks == ("simulated data", "untrained encoder")


def test_without_a_head_the_document_says_so(run) -> None:
    run.write_organ_head(status="absent")

    evaluation = run.evaluate_organ_head()

    assert (evaluation.status, evaluation.n_tiles, evaluation.values) == ("absent", 6, {})
    assert evaluation.reason == "no tiles in training folds [1]"
    assert math.isnan(evaluation.temperature)


def test_without_test_tiles_the_document_says_so(write_run) -> None:
    run = write_run({3: []}, {})
    run.write_organ_head("Colon")

    evaluation = run.evaluate_organ_head()

    assert (evaluation.status, evaluation.n_tiles) == ("absent", 0)
    assert evaluation.reason == "no tiles in test folds [3]"


def test_a_head_that_has_seen_the_test_fold_is_refused(run) -> None:
    run.write_organ_head("Colon", folds={"train": (3,), "validate": (2,)})

    with pytest.raises(IntegrityError, match="has seen fold 3"):
        run.evaluate_organ_head()
