"""Final models: all folds train, the splits choose the number of steps, temperature and decoding."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellvit.config.steps import TrainHovernetSettings, TrainOrganHeadSettings, TuneWatershedSettings
from cellvit.errors import IntegrityError
from cellvit.evaluation.systems import read_unseen
from cellvit.formats.checkpoints import CheckpointHeader, read_checkpoint, read_header, write_checkpoint
from cellvit.formats.documents import read_document
from cellvit.formats.history import read_history
from cellvit.formats.watershed import WatershedChoice
from cellvit.stages import train_hovernet, train_organ_head, tune_watershed

DECODER = {"widths": [8, 8, 8, 8, 8], "stem_widths": [4, 6]}
TRAINING = {"steps": 8, "record_every": 2, "validate_every": 2, "batch_size": 2, "learning_rate": 1e-3}
FOLDS = (1, 2, 3)


@pytest.fixture
def small_run(write_small_run: Callable[..., Any]) -> Any:
    small_run = write_small_run({1: ["Colon", "Liver"], 2: ["Colon"], 3: ["Colon", "Colon", "Skin"]})
    small_run.gather("digestive", ["Colon"])
    small_run.gather("epidermal", ["Skin"])
    return small_run


def decoder(small_run: Any, split: str, family: str, train: tuple[int, ...], validate: tuple[int, ...]) -> Any:
    folds, out = (*train, *validate), small_run.root / f"checkpoints/{split}/{family}"
    return train_hovernet.Arguments(
        settings=TrainHovernetSettings.model_validate({"decoder": DECODER, "training": TRAINING, "seed": 0}),
        split=split,
        family=family,
        train_folds=train,
        validate_folds=validate,
        members=tuple(small_run.members(family, fold) for fold in folds),
        tiles=tuple(map(small_run.tiles, folds)),
        features=tuple(map(small_run.features, folds)),
        checkpoint=out.with_suffix(".safetensors"),
        history=out.with_suffix(".csv"),
        maps=out.with_suffix(".h5"),
        device="cpu",
    )


def head(small_run: Any, split: str, train: tuple[int, ...], validate: tuple[int, ...]) -> Any:
    folds, out = (*train, *validate), small_run.root / f"checkpoints/{split}/organ_head"
    settings = {"organ_head": {"epochs": 4, "batch_size": 2, "hidden": 8}, "seed": 0}
    return train_organ_head.Arguments(
        settings=TrainOrganHeadSettings.model_validate(settings),
        split=split,
        train_folds=train,
        validate_folds=validate,
        tiles=tuple(map(small_run.tiles, folds)),
        features=tuple(map(small_run.features, folds)),
        checks=(),
        checkpoint=out.with_suffix(".safetensors"),
        history=out.with_suffix(".csv"),
        device="cpu",
    )


def selected_at(path: Path, step: int, **metrics: float) -> Path:
    """The checkpoint as if `step` had been selected."""
    header, weights = read_checkpoint(path)
    changed = header.model_copy(update={"step": step, "metrics": {**header.metrics, **metrics}})
    write_checkpoint(path, CheckpointHeader.model_validate(changed.model_dump()), weights)
    return path


@pytest.fixture
def of_splits(small_run: Any) -> list[Any]:
    """Trainings of three splits, whose weights were selected after 2, 6 and 8 of 8 steps."""
    given = [
        decoder(small_run, split, "digestive", train, validate)
        for split, train, validate in (("1", (1,), (2,)), ("2", (2,), (1,)), ("3", (3,), (2,)))
    ]
    for one, step in zip(given, (2, 6, 8), strict=True):
        train_hovernet.run(one)
        selected_at(one.checkpoint, step)
    return given


@pytest.fixture
def final(small_run: Any, of_splits: list[Any]) -> Any:
    given = decoder(small_run, "final", "digestive", FOLDS, ())
    given = replace(given, splits=tuple(one.checkpoint for one in of_splits))
    train_hovernet.run(given)
    return given


def test_a_final_decoder_takes_the_median_share_of_its_steps_and_is_marked(final):
    header = read_header(final.checkpoint)

    assert (header.final, header.split, header.status, header.step) == (True, "final", "trained", 6)
    assert header.folds == {"train": FOLDS, "validate": ()}
    assert header.tiles == {"train": 4, "validate": 0}
    assert "0.75 of its steps, the median over the splits (1: 0.25, 2: 0.75, 3: 1)" in header.selection
    assert len(header.seen) == 4


def test_its_rates_are_those_of_the_whole_training_and_it_has_no_validation_values(final, of_splits):
    table, of_split = (read_history(path) for path in (final.history, of_splits[0].history))

    assert table["step"].tolist() == [2, 4, 6]
    assert table["rate"].tolist() == of_split["rate"].tolist()[:3]
    assert table.filter(like="validate_").isna().all(axis=None)


def test_no_fold_is_left_to_test_a_final_model(final):
    with pytest.raises(IntegrityError, match="the model has seen fold 3"):
        read_unseen(final.checkpoint, split="final", family="digestive", test_folds=[3])


def test_without_a_decoder_of_any_split_there_is_no_final_one(small_run):
    of_split = decoder(small_run, "1", "epidermal", (1,), (2,))
    train_hovernet.run(of_split)
    given = replace(decoder(small_run, "final", "epidermal", FOLDS, ()), splits=(of_split.checkpoint,))

    train_hovernet.run(given)

    header = read_header(given.checkpoint)
    assert (header.final, header.status) == (True, "absent")
    assert "no split trained this model" in header.reason


def test_its_decoding_is_tuned_on_the_maps_of_all_splits(small_run, final, of_splits):
    watershed = {"np_threshold": [0.4, 0.5], "hv_threshold": [0.4], "min_object_px": [10], "method": ["hovernet"]}
    given = tune_watershed.Arguments(
        settings=TuneWatershedSettings.model_validate({"watershed": watershed}),
        split="final",
        family="digestive",
        checkpoint=final.checkpoint,
        maps=tuple(one.maps for one in of_splits),
        members=tuple(small_run.members("digestive", fold) for fold in (1, 2)),
        tiles=tuple(map(small_run.tiles, (1, 2))),
        watershed=small_run.root / "watershed/final/digestive.json",
    )

    tune_watershed.run(given)

    choice = read_document(given.watershed, WatershedChoice)
    assert (choice.split, choice.status, choice.validation) == ("final", "tuned", ())
    assert {point.value.n for point in choice.tried} == {3}  # fold 2 in two splits, fold 1 in one


def test_a_final_organ_head_takes_the_median_share_and_the_median_temperature(small_run):
    of_splits = [head(small_run, "1", (1,), (2,)), head(small_run, "2", (2,), (1,)), head(small_run, "3", (3,), (2,))]
    for one, step, temperature in zip(of_splits, (1, 2, 8), (0.5, 3.0, 2.0), strict=True):
        train_organ_head.run(one)
        selected_at(one.checkpoint, step, temperature=temperature)  # of 4, 4 and 8 steps
    given = replace(head(small_run, "final", FOLDS, ()), splits=tuple(one.checkpoint for one in of_splits))

    train_organ_head.run(given)

    header, weights = read_checkpoint(given.checkpoint)
    assert (header.final, header.step) == (True, 6)  # half of 4 epochs of 3 steps
    assert header.metrics["temperature"] == pytest.approx(2.0)
    assert np.asarray(weights["temperature"]) == pytest.approx(2.0)
