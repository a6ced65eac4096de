import json
import logging

import numpy as np
import pandas as pd
import pytest
import torch

from cellvit.errors import AbsentModelError, StaleFileError
from cellvit.formats.checkpoints import read_header
from cellvit.formats.features import open_family_features, open_features
from cellvit.formats.history import HOVERNET_HISTORY
from cellvit.formats.tiles import open_targets, open_tiles
from cellvit.inference.maps import load_decoder, predict_maps

CPU = torch.device("cpu")
SETTINGS = {
    "decoder": {"widths": [8, 8, 8, 8, 8], "stem_widths": [4, 6]},
    "training": {"epochs": 2, "batch_size": 2, "bpq_every": 1, "learning_rate": 1e-3},
    "seed": 0,
}


@pytest.fixture
def run(write_small_run):
    run = write_small_run({1: ["Colon", "Liver", "Colon"], 2: ["Colon"], 3: ["Liver", "Skin"]})
    run.gather("digestive", ["Colon", "Stomach"])
    run.gather("epidermal", ["Skin"])
    return run


@pytest.fixture
def train(run_stage):
    def call(run, family, *, settings=SETTINGS, name="hovernet"):
        out = run.root / f"{name}_{family}"
        arguments = {
            "--settings": [json.dumps(settings)],
            "--split": ["1"],
            "--family": [family],
            "--train-folds": [1],
            "--validate-folds": [2],
            "--features": [run.family(family, "features")],
            "--targets": [run.family(family, "targets")],
            "--checkpoint": [out.with_suffix(".safetensors")],
            "--history": [out.with_suffix(".csv")],
            "--code": ["abc123"],
            "--device": ["cpu"],
        }
        return run_stage("train_hovernet", arguments), out.with_suffix(".safetensors"), out.with_suffix(".csv")

    return call


def test_the_header_says_what_the_weights_are_and_have_seen(run, train):
    code, checkpoint, _ = train(run, "digestive")

    header = read_header(checkpoint)
    assert code == 0
    assert (header.status, header.kind, header.split, header.family) == ("trained", "hovernet", "1", "digestive")
    assert header.folds == {"train": (1,), "validate": (2,)}
    assert header.tiles == {"train": 2, "validate": 1}
    assert header.organs == ("Colon",)
    assert header.classes[0] == "Background"
    assert header.encoder["encoder"]["preset"] == "tiny-vit"
    assert header.encoder["taps"] == [3]
    assert header.provenance.marks == ("simulated data", "untrained encoder")
    assert header.provenance.settings["training"]["epochs"] == 2
    assert (header.mpp, header.code) == (0.25, "abc123")
    with open_family_features(run.family("digestive", "features")) as features:
        assert header.provenance.made_from["features_fold1"] == features.fold_sha256(1)
    assert {"train_hv_magnitude", "validate_bpq"} <= set(header.metrics)


def test_the_history_marks_the_epoch_of_the_checkpoint(run, train):
    _, checkpoint, history = train(run, "digestive")

    table = pd.read_csv(history)
    assert tuple(table.columns) == HOVERNET_HISTORY.columns
    assert table["epoch"].tolist() == [1, 2]
    assert table.loc[table["chosen"] == 1, "epoch"].tolist() == [read_header(checkpoint).epoch]
    assert table["validate_bpq"].max() == pytest.approx(read_header(checkpoint).metrics["validate_bpq"], rel=1e-6)


def test_the_same_inputs_give_the_same_bytes(run, train):
    _, first, first_history = train(run, "digestive")

    _, again, again_history = train(run, "digestive", name="again")

    assert first.read_bytes() == again.read_bytes()
    assert first_history.read_bytes() == again_history.read_bytes()


def test_a_family_without_training_tiles_gives_an_absent_checkpoint_and_a_warning(run, train, caplog):
    with caplog.at_level(logging.WARNING):
        code, checkpoint, history = train(run, "epidermal")

    header = read_header(checkpoint)
    assert code == 0
    assert header.status == "absent"
    assert header.reason == "family epidermal (organs Skin) has no tiles in training folds 1"
    assert header.reason in caplog.text
    assert len(pd.read_csv(history)) == 0
    with pytest.raises(AbsentModelError, match="organs Skin"):
        load_decoder(checkpoint, CPU)


def test_a_trained_decoder_predicts_on_family_and_fold_stores_alike(run, train):
    _, checkpoint, _ = train(run, "digestive")
    decoder = load_decoder(checkpoint, CPU)

    with (
        open_family_features(run.family("digestive", "features")) as features,
        open_targets(run.family("digestive", "targets")) as targets,
    ):
        (of_family,) = predict_maps(decoder, features, targets, np.array([0, 1]))
    with open_features(run.features(1)) as features, open_tiles(run.tiles(1)) as tiles:
        first, second = predict_maps(decoder, features, tiles, np.array([0, 2]), batch_size=1)

    assert of_family.tiles.tile_id == first.tiles.tile_id + second.tiles.tile_id == ("f1-00000", "f1-00002")
    np.testing.assert_allclose(of_family.np_prob[:1], first.np_prob, atol=1e-5)
    np.testing.assert_allclose(of_family.hv[1:], second.hv, atol=1e-5)
    np.testing.assert_allclose(of_family.nt_prob.sum(axis=1), 1, atol=1e-5)
    assert of_family.np_prob.dtype == of_family.hv.dtype == of_family.nt_prob.dtype == np.float32


def test_features_of_another_encoder_are_refused_by_name(run, train):
    _, checkpoint, _ = train(run, "digestive")
    decoder = load_decoder(checkpoint, CPU)
    decoder.header.encoder["encoder"] = {**decoder.header.encoder["encoder"], "seed": 5}

    with (
        open_features(run.features(1)) as features,
        open_tiles(run.tiles(1)) as tiles,
        pytest.raises(
            StaleFileError, match=r"(?s)encoder: decoder has .*'seed': 5.*'seed': 0.*forcerun train_hovernet"
        ),
    ):
        next(predict_maps(decoder, features, tiles, np.array([0])))


def test_a_block_that_the_store_lacks_is_named(run, train, capsys):
    settings = {**SETTINGS, "decoder": {**SETTINGS["decoder"], "taps": [1]}}

    code, checkpoint, _ = train(run, "digestive", settings=settings)

    assert code == 1
    assert "reads blocks [1], the store holds [3]" in capsys.readouterr().err
    assert not checkpoint.exists()
