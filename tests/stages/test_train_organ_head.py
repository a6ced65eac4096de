import json
import logging
import math

import pandas as pd
import pytest
import torch

from cellvit.errors import AbsentModelError
from cellvit.formats.checkpoints import read_header
from cellvit.formats.documents import read_document
from cellvit.formats.evaluations import OrganHeadEvaluation
from cellvit.formats.features import open_features
from cellvit.formats.history import ORGAN_HEAD_HISTORY
from cellvit.inference.organs import load_organ_head, predict_organs
from cellvit.taxonomy import ORGANS

CPU = torch.device("cpu")
SETTINGS = {"organ_head": {"epochs": 30, "hidden": 16, "batch_size": 4, "learning_rate": 1e-2}, "seed": 0}


@pytest.fixture
def train(run_stage):
    def call(run, folds=((1,), (2,), (3,)), *, features=None, name="organ_head"):
        used = sorted({fold for role in folds for fold in role})
        files = [run.root / f"{name}{suffix}" for suffix in (".safetensors", ".csv", ".json")]
        arguments = {
            "--settings": [json.dumps(SETTINGS)],
            "--split": ["1"],
            "--train-folds": folds[0],
            "--validate-folds": folds[1],
            "--test-folds": folds[2],
            "--tiles": [run.tiles(fold) for fold in used],
            "--features": features or [run.features(fold) for fold in used],
            "--checkpoint": files[:1],
            "--history": files[1:2],
            "--evaluation": files[2:],
            "--code": ["abc123"],
            "--device": ["cpu"],
        }
        return run_stage("train_organ_head", arguments), *files

    return call


THREE = ["Colon", "Breast", "Liver"]


def test_organs_are_told_apart_on_the_test_folds(write_small_run, train):
    run = write_small_run({1: 4 * THREE, 2: THREE, 3: 2 * THREE})

    code, checkpoint, history, evaluation = train(run)

    document = read_document(evaluation, OrganHeadEvaluation)
    assert code == 0
    assert (document.status, document.n_tiles) == ("evaluated", 6)
    assert document.figures["accuracy"].value == 1
    assert document.figures["balanced_accuracy"].n == 6
    assert set(document.figures) == {"accuracy", "accuracy_majority", "balanced_accuracy", "calibration_error"}
    assert document.organ_names == ("Breast", "Colon", "Liver")
    assert document.confusion == ((2, 0, 0), (0, 2, 0), (0, 0, 2))
    assert {name: figure.n for name, figure in document.recall.items()} == {"Breast": 2, "Colon": 2, "Liver": 2}
    assert document.temperature > 0
    table = pd.read_csv(history)
    assert tuple(table.columns) == ORGAN_HEAD_HISTORY.columns
    assert table.loc[table["chosen"] == 1, "epoch"].tolist() == [read_header(checkpoint).epoch]


def test_intervals_of_the_head_are_over_the_patients_of_the_test_tiles(write_small_run, train):
    patients = {3: ["p1"] * 3 + ["p2"] * 3}
    run = write_small_run({1: 4 * THREE, 2: THREE, 3: [*THREE, "Skin", "Skin", "Skin"]}, patients)

    _, _, _, evaluation = train(run)

    document = read_document(evaluation, OrganHeadEvaluation)
    accuracy = document.figures["accuracy"]
    assert (document.n_patients, document.n_tiles_without_patient) == (2, 0)
    assert (accuracy.value, accuracy.low, accuracy.high, accuracy.n) == (0.5, 0, 1, 6)  # p1 is right, p2 wrong
    assert math.isnan(document.recall["Skin"].low)  # one patient


def test_the_checkpoint_holds_all_that_prediction_needs(write_small_run, train):
    run = write_small_run({1: 4 * THREE, 2: THREE, 3: THREE})
    _, checkpoint, _, _ = train(run)

    head = load_organ_head(checkpoint, CPU)
    with open_features(run.features(3)) as features:
        probabilities = predict_organs(head, features, next(features.blocks(10)))

    assert [head.header.organs[number] for number in probabilities.argmax(axis=1)] == THREE
    assert head.header.organs == ORGANS
    assert head.header.folds == {"train": (1,), "validate": (2,)}
    assert set(head.header.provenance.made_from) >= {"tiles_fold1", "features_fold3"}
    assert head.header.provenance.marks == ("simulated data", "untrained encoder")


def test_test_tiles_of_organs_without_training_tiles_are_counted(write_small_run, train, caplog):
    run = write_small_run({1: 2 * THREE, 2: THREE, 3: [*THREE, "Skin"]})

    with caplog.at_level(logging.WARNING):
        _, _, _, evaluation = train(run)

    document = read_document(evaluation, OrganHeadEvaluation)
    assert document.unseen == {"Skin": 1}
    assert document.recall["Skin"].value == 0
    assert "organs without training tiles cannot be predicted: role=test Skin=1" in caplog.text


def test_without_training_tiles_everything_says_so(write_small_run, train, caplog):
    run = write_small_run({1: [], 2: THREE, 3: THREE})

    with caplog.at_level(logging.WARNING):
        code, checkpoint, history, evaluation = train(run)

    assert code == 0
    assert "no tiles in training folds 1" in caplog.text
    assert read_document(evaluation, OrganHeadEvaluation).status == "absent"
    assert len(pd.read_csv(history)) == 0
    with pytest.raises(AbsentModelError, match="no tiles in training folds 1"):
        load_organ_head(checkpoint, CPU)


def test_without_test_tiles_the_head_is_trained_and_not_judged(write_small_run, train):
    run = write_small_run({1: 2 * THREE, 2: THREE, 3: []})

    _, checkpoint, _, evaluation = train(run)

    document = read_document(evaluation, OrganHeadEvaluation)
    assert (document.status, document.reason) == ("absent", "no tiles in test folds 3")
    assert read_header(checkpoint).status == "trained"


def test_several_folds_may_train(write_small_run, train):
    run = write_small_run({1: THREE, 2: THREE, 3: THREE, 4: THREE})

    _, checkpoint, _, _ = train(run, ((1, 4), (2,), (3,)))

    assert read_header(checkpoint).tiles == {"train": 6, "validate": 3}


def test_the_same_inputs_give_the_same_bytes(write_small_run, train):
    run = write_small_run({1: 2 * THREE, 2: THREE, 3: THREE})

    _, *first = train(run)
    _, *again = train(run, name="again")

    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


def test_features_of_other_tiles_are_refused_with_the_remedy(write_small_run, train, capsys):
    run = write_small_run({1: THREE, 2: THREE, 3: THREE})
    swapped = [run.features(fold) for fold in (2, 1, 3)]

    code, checkpoint, _, _ = train(run, features=swapped)

    assert code == 1
    assert "--forcerun extract_features" in capsys.readouterr().err
    assert not checkpoint.exists()


def test_a_fold_without_its_features_is_refused(write_small_run, train, capsys):
    run = write_small_run({1: THREE, 2: THREE, 3: THREE})

    code, checkpoint, _, _ = train(run, features=[run.features(fold) for fold in (1, 2)])

    assert code == 1
    assert "--features must have one entry for each of --tiles, in the same order: 3 expected, found 2" in (
        capsys.readouterr().err
    )
    assert not checkpoint.exists()
