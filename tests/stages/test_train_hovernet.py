"""train_hovernet from the members of a family to a checkpoint that predicts."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from cellvit.config.steps import TrainHovernetSettings
from cellvit.errors import AbsentModelError, SettingsError, StaleFileError
from cellvit.formats.checkpoints import CheckpointHeader, read_checkpoint, read_header
from cellvit.formats.content import content_of
from cellvit.formats.family import open_family
from cellvit.formats.features import open_features
from cellvit.formats.history import HOVERNET_HISTORY, read_history
from cellvit.formats.maps import open_maps
from cellvit.formats.tiles import open_tiles
from cellvit.inference.maps import load_decoder, predict_maps
from cellvit.stages.train_hovernet import Arguments, run

CPU = torch.device("cpu")
SETTINGS: dict[str, Any] = {
    "decoder": {"widths": [8, 8, 8, 8, 8], "stem_widths": [4, 6]},
    "training": {"steps": 2, "record_every": 1, "validate_every": 1, "batch_size": 2, "learning_rate": 1e-3},
    "seed": 0,
}


@pytest.fixture
def small_run(write_small_run: Callable[..., Any]) -> Any:
    small_run = write_small_run({1: ["Colon", "Liver", "Colon"], 2: ["Colon"], 3: ["Liver", "Skin"]})
    small_run.gather("digestive", ["Colon", "Stomach"])
    small_run.gather("epidermal", ["Skin"])
    return small_run


def arguments(small_run: Any, family: str = "digestive", **decoder: object) -> Arguments:
    folds, out = (1, 2), small_run.root / f"checkpoints/{family}"
    return Arguments(
        settings=TrainHovernetSettings.model_validate({**SETTINGS, "decoder": {**SETTINGS["decoder"], **decoder}}),
        split="1",
        family=family,
        train_folds=(1,),
        validate_folds=(2,),
        members=tuple(small_run.members(family, fold) for fold in folds),
        tiles=tuple(map(small_run.tiles, folds)),
        features=tuple(map(small_run.features, folds)),
        checkpoint=out.with_suffix(".safetensors"),
        history=out.with_suffix(".csv"),
        maps=out.with_suffix(".h5"),
        device="cpu",
        code="abc123",
    )


def trained(small_run: Any, family: str = "digestive") -> tuple[Arguments, CheckpointHeader]:
    given = arguments(small_run, family)
    run(given)
    return given, read_header(given.checkpoint)


def test_the_header_says_what_the_weights_are_and_have_seen(small_run):
    given, header = trained(small_run)

    assert (header.status, header.kind, header.split, header.family) == ("trained", "hovernet", "1", "digestive")
    assert header.folds == {"train": (1,), "validate": (2,)}
    assert header.tiles == {"train": 2, "validate": 1}
    assert header.trained_organs == ("Colon",)
    assert header.classes[0] == "Background"
    assert header.encoder["encoder"]["preset"] == "tiny-vit"
    assert (header.encoder["blocks"], header.architecture["blocks"]) == ([3], 1)
    assert header.provenance.marks == ("simulated data", "untrained encoder")
    assert header.provenance.settings["training"]["steps"] == 2
    assert header.provenance.made_from == {
        f"../families/digestive/{path.name}": content_of(path).digest for path in given.members
    }
    assert (header.mpp, header.code) == (0.25, "abc123")
    assert {"train_hv_magnitude", "validate_bpq"} <= set(header.metrics)


def test_the_maps_are_those_of_the_validation_tiles_in_half_precision(small_run):
    given, _ = trained(small_run)

    decoder = load_decoder(given.checkpoint, CPU)
    with open_family(given.members, given.tiles, given.features) as data:
        rows = data.rows_of_folds((2,))
        (expected,) = predict_maps(decoder, data.features, data.tiles, rows)
        with open_maps(given.maps, data.tiles, rows, average_views=False) as maps:
            np_prob, hv, nt_class = (maps.all(name) for name in ("np_prob", "hv", "nt_class"))
    assert np.array_equal(np_prob, expected.np_prob.astype(np.float16))
    assert np.array_equal(hv, expected.hv.astype(np.float16))
    assert np.array_equal(nt_class, expected.nt_prob.argmax(axis=1))


def test_the_step_is_selected_by_the_metric_of_the_settings(small_run):
    given = arguments(small_run)
    selection = given.settings.selection.model_copy(update={"select_by": "aji", "method": ("hv_flow",)})

    run(replace(given, settings=given.settings.model_copy(update={"selection": selection})))

    table = read_history(given.history)
    assert table["validate_aji"].notna().all()
    assert table["validate_bpq"].isna().all()
    assert read_header(given.checkpoint).selection == "best validation aji"


def test_the_history_marks_the_step_of_the_checkpoint(small_run):
    given, header = trained(small_run)

    table = read_history(given.history)
    assert tuple(table.columns) == HOVERNET_HISTORY.columns
    assert table["step"].tolist() == [1, 2]
    assert table.loc[table["selected"] == 1, "step"].tolist() == [header.step]
    assert table["validate_bpq"].max() == pytest.approx(header.metrics["validate_bpq"], rel=1e-6)


def test_the_same_inputs_give_the_same_bytes(small_run):
    given, _ = trained(small_run)
    again = replace(
        given, checkpoint=given.checkpoint.with_stem("again"), history=given.history.with_stem("again_history")
    )

    run(again)

    assert given.checkpoint.read_bytes() == again.checkpoint.read_bytes()
    assert given.history.read_bytes() == again.history.read_bytes()


def test_a_family_without_training_tiles_gives_an_absent_checkpoint_and_a_warning(small_run, caplog):
    with caplog.at_level(logging.WARNING):
        given, header = trained(small_run, "epidermal")

    assert header.status == "absent"
    assert header.reason == "family epidermal has no tiles in training folds 1"
    assert header.reason in caplog.text
    assert len(pd.read_csv(given.history)) == 0
    with pytest.raises(AbsentModelError, match="family epidermal"):
        load_decoder(given.checkpoint, CPU)


def test_a_trained_decoder_predicts_on_family_and_fold_alike(small_run):
    given, _ = trained(small_run)
    decoder = load_decoder(given.checkpoint, CPU)

    with open_family(given.members, given.tiles, given.features) as data:
        (of_family,) = predict_maps(decoder, data.features, data.tiles, np.array([0, 1]))
    with open_features(given.features[0]) as features, open_tiles(given.tiles[0]) as tiles:
        first, second = predict_maps(decoder, features, tiles, np.array([0, 2]), batch_size=1)

    assert of_family.tiles.tile_id == first.tiles.tile_id + second.tiles.tile_id == ("f1-00000", "f1-00002")
    np.testing.assert_allclose(of_family.np_prob[:1], first.np_prob, atol=1e-5)
    np.testing.assert_allclose(of_family.hv[1:], second.hv, atol=1e-5)
    np.testing.assert_allclose(of_family.nt_prob.sum(axis=1), 1, atol=1e-5)
    assert of_family.np_prob.dtype == of_family.hv.dtype == of_family.nt_prob.dtype == np.float32


def test_features_of_another_encoder_are_refused_by_name(small_run):
    given, _ = trained(small_run)
    decoder = load_decoder(given.checkpoint, CPU)
    decoder.header.encoder["encoder"] = {**decoder.header.encoder["encoder"], "seed": 5}

    with (
        open_features(given.features[0]) as features,
        open_tiles(given.tiles[0]) as tiles,
        pytest.raises(
            StaleFileError, match=r"(?s)encoder: .*'seed': 5.*'seed': 0.*forcerun train_organ_head train_hovernet"
        ),
    ):
        next(predict_maps(decoder, features, tiles, np.array([0])))


def test_a_block_that_is_not_stored_is_named(small_run):
    given = arguments(small_run, blocks=[1])

    with pytest.raises(StaleFileError, match=r"\[1\], the store holds \[3\]"):
        run(given)

    assert not given.checkpoint.exists()


def test_the_checkpoint_names_the_sources_of_its_training_tiles_and_of_its_start(write_small_run):
    sources = {1: ["Lyon", "Bern", ""], 2: ["Rome"]}
    small_run = write_small_run({1: ["Colon", "Liver", "Colon"], 2: ["Colon"]}, sources=sources)
    small_run.gather("digestive", ["Colon"])
    small_run.gather("all", ["Colon", "Liver"])
    shared, own = (arguments(small_run, family) for family in ("all", "digestive"))
    started = starting_from(own, shared.checkpoint)

    for given in (shared, own, started):
        run(given)

    assert read_header(shared.checkpoint).sources == ("", "Bern", "Lyon")
    assert read_header(own.checkpoint).sources == ("", "Lyon")
    assert read_header(started.checkpoint).sources == ("", "Bern", "Lyon")


def starting_from(given: Arguments, start: Path | None, **changes: object) -> Arguments:
    """A training that starts from the weights of another one; its steps change nothing."""
    raw = given.settings.model_dump()
    frozen = {"start_from": "shared", "steps": 1, "learning_rate": 1e-12, "ema": 0.0}
    settings = TrainHovernetSettings.model_validate({**raw, "training": {**raw["training"], **frozen}})
    return replace(given, settings=settings, start=start, checkpoint=given.checkpoint.with_stem("started"), **changes)


def test_a_training_starts_from_the_weights_that_it_is_given_and_records_them(small_run, caplog):
    given, header = trained(small_run)
    started = starting_from(given, given.checkpoint)

    with caplog.at_level(logging.INFO):
        run(started)

    found, weights = read_checkpoint(started.checkpoint)
    _, expected = read_checkpoint(given.checkpoint)
    learned = [name for name in expected if name.endswith("weight")]
    assert learned
    for name in learned:
        np.testing.assert_allclose(weights[name], expected[name], atol=1e-6)
    assert found.provenance.made_from["digestive.safetensors"] == content_of(given.checkpoint).digest
    assert f"the training starts from the decoder of family=digestive step={header.step}" in caplog.text


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        pytest.param({"split": "2"}, "split: expected 2, found 1", id="split"),
        pytest.param({"train_folds": (2,), "validate_folds": (1,)}, "folds: expected", id="folds"),
        pytest.param({"settings": {"widths": [8, 8, 8, 8, 4]}}, "architecture: expected", id="architecture"),
    ],
)
def test_a_decoder_that_differs_is_no_start(small_run, changes, differing):
    given, _ = trained(small_run)
    other = arguments(small_run, **changes.pop("settings", {}))

    with pytest.raises(StaleFileError, match=rf"(?s){differing}.*Fix: use the same decoder settings"):
        run(starting_from(other, given.checkpoint, **changes))


def test_settings_and_start_must_agree(small_run):
    given, _ = trained(small_run)

    for wrong in (replace(given, start=given.checkpoint), starting_from(given, None)):
        with pytest.raises(
            SettingsError, match=r"--start: expected a checkpoint unless training.start_from is scratch"
        ):
            run(wrong)
