"""train_organ_head from the CLS tokens of folds to a checkpoint that predicts organs."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch

from cellvit.config.steps import TrainOrganHeadSettings
from cellvit.errors import AbsentModelError, SettingsError, StaleFileError
from cellvit.formats.checkpoints import read_header
from cellvit.formats.features import open_features
from cellvit.formats.history import ORGAN_HEAD_HISTORY, read_history
from cellvit.inference.organs import load_organ_head, predict_organs
from cellvit.stages.train_organ_head import Arguments, run
from cellvit.taxonomy import ORGANS

CPU = torch.device("cpu")
SETTINGS = TrainOrganHeadSettings.model_validate(
    {"organ_head": {"epochs": 30, "hidden": 16, "batch_size": 4, "learning_rate": 1e-2}, "seed": 0}
)
THREE = ["Colon", "Breast", "Liver"]


def arguments(small_run: Any, train: tuple[int, ...] = (1,), validate: tuple[int, ...] = (2,)) -> Arguments:
    folds = (*train, *validate)
    return Arguments(
        settings=SETTINGS,
        split="1",
        train_folds=train,
        validate_folds=validate,
        tiles=tuple(map(small_run.tiles, folds)),
        features=tuple(map(small_run.features, folds)),
        checks=(),
        checkpoint=small_run.root / "checkpoints/organ_head.safetensors",
        history=small_run.root / "checkpoints/organ_head_history.csv",
        device="cpu",
        code="abc123",
    )


def test_the_checkpoint_holds_everything_that_prediction_needs(write_small_run: Callable[..., Any]):
    small_run = write_small_run({1: 4 * THREE, 2: THREE, 3: THREE})
    given = arguments(small_run)

    run(given)

    head = load_organ_head(given.checkpoint, CPU)
    with open_features(small_run.features(3)) as features:
        probabilities = predict_organs(head, features, next(features.blocks(10)))
    assert [head.header.organs[number] for number in probabilities.argmax(axis=1)] == THREE
    assert head.header.organs == ORGANS
    assert head.header.trained_organs == ("Breast", "Colon", "Liver")
    assert head.header.folds == {"train": (1,), "validate": (2,)}
    assert head.header.metrics["temperature"] == float(head.module.temperature) != 1
    assert set(head.header.provenance.made_from) == {
        f"../{kind}/fold{fold}.h5" for kind in ("tiles", "features") for fold in (1, 2)
    }
    assert head.header.provenance.marks == ("simulated data", "untrained encoder")
    table = read_history(given.history)
    assert tuple(table.columns) == ORGAN_HEAD_HISTORY.columns
    assert table.loc[table["selected"] == 1, "step"].tolist() == [head.header.step]


def test_validation_tiles_of_organs_without_training_tiles_are_counted(write_small_run, caplog):
    given = arguments(write_small_run({1: 2 * THREE, 2: [*THREE, "Skin"]}))

    with caplog.at_level(logging.WARNING):
        run(given)

    assert "organs without training tiles cannot be predicted: {'Skin': 1}" in caplog.text


def test_without_training_tiles_the_checkpoint_says_so(write_small_run, caplog):
    given = arguments(write_small_run({1: [], 2: THREE}))

    with caplog.at_level(logging.WARNING):
        run(given)

    assert "no tiles in training folds 1" in caplog.text
    assert len(pd.read_csv(given.history)) == 0
    with pytest.raises(AbsentModelError, match="no tiles in training folds 1"):
        load_organ_head(given.checkpoint, CPU)


def test_several_folds_may_train_in_any_order_of_their_files(write_small_run):
    given = arguments(write_small_run({1: THREE, 2: 2 * THREE, 4: THREE}), (1, 4), (2,))

    run(replace(given, tiles=given.tiles[::-1], features=given.features[::-1]))

    assert read_header(given.checkpoint).tiles == {"train": 6, "validate": 6}


def test_the_same_inputs_give_the_same_bytes(write_small_run):
    given = arguments(write_small_run({1: 2 * THREE, 2: THREE}))
    again = replace(given, checkpoint=given.checkpoint.with_stem("again"), history=given.history.with_stem("again"))

    run(given)
    run(again)

    assert given.checkpoint.read_bytes() == again.checkpoint.read_bytes()
    assert given.history.read_bytes() == again.history.read_bytes()


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        pytest.param((2, 1), StaleFileError, "forcerun extract_features", id="of_other_tiles"),
        pytest.param((1,), SettingsError, "--features: expected one entry for each of --tiles", id="too_few"),
    ],
)
def test_features_that_do_not_belong_to_the_tiles_are_refused(write_small_run, features, error, message):
    small_run = write_small_run({1: THREE, 2: THREE})
    given = replace(arguments(small_run), features=tuple(map(small_run.features, features)))

    with pytest.raises(error, match=message):
        run(given)

    assert not given.checkpoint.exists()
