"""train_hovernet from the weights of a decoder of another run."""

import functools
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cellvit.config.steps import TrainHovernetSettings
from cellvit.errors import ContractError, IntegrityError, StaleFileError
from cellvit.formats.checkpoints import CheckpointHeader, read_checkpoint, read_header, write_checkpoint
from cellvit.formats.content import content_of
from cellvit.formats.digests import sha256_of
from cellvit.stages.train_hovernet import Arguments, run

DECODER = {"widths": [8, 8, 8, 8, 8], "stem_widths": [4, 6]}
TRAINING = {"steps": 1, "record_every": 1, "validate_every": 1, "batch_size": 2, "learning_rate": 1e-12, "ema": 0.0}
"""A step that changes nothing that is compared here."""


@pytest.fixture
def small_run(write_small_run: Callable[..., Any]) -> Any:
    small_run = write_small_run({fold: ["Colon", "Colon"] for fold in (1, 2, 3, 4)})
    small_run.gather("digestive", ["Colon"])
    return small_run


def arguments(
    small_run: Any, name: str, train: int, validate: int, *, start: Path | None = None, **changed: Any
) -> Arguments:
    settings = {"decoder": {**DECODER, **changed}, "training": dict(TRAINING), "seed": 0}
    if start is not None:
        settings |= {"seed": 1, "training": {**TRAINING, "start_from": str(start)}}
    folds, out = (train, validate), small_run.root / f"{name}/digestive"
    return Arguments(
        settings=TrainHovernetSettings.model_validate(settings),
        split="1",
        family="digestive",
        train_folds=(train,),
        validate_folds=(validate,),
        members=tuple(small_run.members("digestive", fold) for fold in folds),
        tiles=tuple(map(small_run.tiles, folds)),
        features=tuple(map(small_run.features, folds)),
        checkpoint=out.with_suffix(".safetensors"),
        history=out.with_suffix(".csv"),
        maps=out.with_suffix(".h5"),
        start=start,
        device="cpu",
    )


@pytest.fixture
def old(small_run: Any) -> Path:
    """A decoder that was trained on fold 1 and selected on fold 2."""
    given = arguments(small_run, "old", 1, 2)
    run(given)
    return given.checkpoint


def rewritten(old: Path, **changes: Any) -> Path:
    """The decoder as it would be of another encoder, other classes and so on."""
    header, weights = read_checkpoint(old)
    path = old.with_stem("changed")
    if changes.get("classes", header.classes) != header.classes:
        n = len(changes["classes"])
        weights |= {name: np.resize(weights[name], (n, *weights[name].shape[1:])) for name in ("nt.weight", "nt.bias")}
    write_checkpoint(path, CheckpointHeader.model_validate(header.model_dump() | changes), weights)
    return path


def test_all_weights_are_taken_where_the_classes_are_the_same_and_the_header_says_so(small_run, old, caplog):
    given = arguments(small_run, "new", 3, 4, start=old)

    with caplog.at_level(logging.INFO):
        run(given)

    header, weights = read_checkpoint(given.checkpoint)
    _, expected = read_checkpoint(old)
    for name in (name for name in expected if name.endswith("weight")):
        np.testing.assert_allclose(weights[name], expected[name], atol=1e-6)
    assert header.start is not None
    assert (header.start.file, header.start.sha256, header.start.new) == (old.name, sha256_of(old), ())
    assert set(header.start.taken) == {name.partition(".")[0] for name in expected}
    assert header.provenance.made_from["data:start"] == content_of(old).digest
    assert header.provenance.simulated
    assert f"starts from path={old} sha256={sha256_of(old)} family=digestive" in caplog.text


def test_without_steps_the_decoder_is_the_start_to_the_last_bit_and_is_measured(small_run, old):
    given = arguments(small_run, "as_it_is", 3, 4, start=old)
    training = given.settings.training.model_copy(update={"steps": 0, "ema": 0.999})
    run(replace(given, settings=given.settings.model_copy(update={"training": training})))

    header, weights = read_checkpoint(given.checkpoint)
    _, expected = read_checkpoint(old)
    rows = pd.read_csv(given.history)
    assert weights.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(weights[name], values, err_msg=name)
    assert (header.step, header.status) == (0, "trained")
    assert (rows["step"].tolist(), rows["selected"].tolist()) == ([0], [1])
    assert rows["train_total"].isna().all()
    assert rows["validate_total"].notna().all()


def test_no_steps_without_a_start_are_refused():
    with pytest.raises(ValueError, match=r"training\.steps=0 evaluates decoders as they are"):
        TrainHovernetSettings.model_validate({"training": {"steps": 0}})


@pytest.mark.parametrize(
    "classes",
    [
        pytest.param(["Background", "Tumour", "Immune", "Stroma"], id="another_number"),
        pytest.param(
            ["Background", "Inflammatory", "Neoplastic", "Connective", "Dead", "Epithelial"], id="other_order"
        ),
    ],
)
def test_a_head_of_other_classes_starts_new_and_everything_else_is_taken(small_run, old, classes, caplog):
    changed = rewritten(old, classes=classes)
    given = arguments(small_run, "new", 3, 4, start=changed)

    with caplog.at_level(logging.INFO):
        run(given)

    header, weights = read_checkpoint(given.checkpoint)
    _, expected = read_checkpoint(changed)
    assert header.start is not None
    assert header.start.new == ("nt",)
    assert "nt" not in header.start.taken
    np.testing.assert_allclose(weights["hv.weight"], expected["hv.weight"], atol=1e-6)
    assert weights["nt.weight"].shape[0] == len(header.classes)
    assert not np.isin(weights["nt.weight"], expected["nt.weight"]).any()
    assert "parts that start from random weights: nt" in caplog.text


def test_a_dropout_may_differ(small_run, old):
    given = arguments(small_run, "new", 3, 4, start=old, dropout=0.3)

    run(given)

    assert read_header(given.checkpoint).start is not None


def test_a_file_from_before_the_setting_of_colours_is_one_of_fixed_colours(small_run, old):
    earlier = read_header(old).model_dump()
    del earlier["architecture"]["image_norm"]
    given = arguments(small_run, "new", 3, 4, start=rewritten(old, **earlier))

    run(given)

    assert read_header(given.checkpoint).start is not None


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        pytest.param("kind", "organ_head", "kind: expected hovernet, found organ_head", id="no_decoder"),
        pytest.param("mpp", 0.5, "mpp: expected 0.25, found 0.5", id="resolution"),
        pytest.param(
            "encoder.encoder.preset", "h0-mini", "encoder.preset: expected tiny-vit, found h0-mini", id="encoder"
        ),
        pytest.param(
            "encoder.features.input_px", 448, "features.input_px: expected 224, found 448", id="size_of_the_input"
        ),
        pytest.param("encoder.blocks", [1], r"decoder.blocks: expected \[3\], found \[1\]", id="blocks"),
        pytest.param("architecture.trunk", "branches", "decoder.trunk: expected shared, found branches", id="variant"),
        pytest.param("architecture.image_norm", "tile", "decoder.image_norm: expected fixed, found tile", id="colours"),
        pytest.param("architecture.grid", 32, "decoder.grid: expected 16, found 32", id="grid"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_both_values(small_run, old, place, value, named):
    changed = read_header(old).model_dump()
    *sections, key = place.split(".")
    functools.reduce(dict.__getitem__, sections, changed)[key] = value

    with pytest.raises(StaleFileError, match=rf"(?s)do not fit.*{named}\n.*Fix: set encoder"):
        run(arguments(small_run, "new", 3, 4, start=rewritten(old, **changed)))


def test_a_file_that_was_changed_is_refused_without_advice_to_remove_it(small_run, old):
    content = old.read_bytes()
    old.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])

    with pytest.raises(StaleFileError, match=r"(?s)training\.start_from: .*Fix: name an intact decoder") as refused:
        run(arguments(small_run, "new", 3, 4, start=old))

    assert "rm " not in str(refused.value)


def test_a_file_that_is_cut_off_is_to_be_copied_again(small_run, old):
    old.write_bytes(old.read_bytes()[:-9])

    with pytest.raises(ContractError, match=r"not a safetensors file .*Fix: copy it again"):
        run(arguments(small_run, "new", 3, 4, start=old))


def test_weights_that_have_seen_a_test_tile_are_refused_before_the_training(small_run, old):
    given = arguments(small_run, "new", 3, 4, start=old)

    with pytest.raises(IntegrityError, match=r"have seen 2 of 2 test tiles of .*fold2\.h5 \(f2-00000, f2-00001"):
        run(replace(given, unseen=(small_run.tiles(2),)))

    assert not given.checkpoint.exists()


def test_what_the_start_has_seen_is_handed_on_to_the_next_start(small_run, old):
    first = arguments(small_run, "first", 3, 3, start=old)
    run(
        replace(first, validate_folds=(), members=first.members[:1], tiles=first.tiles[:1], features=first.features[:1])
    )
    second = arguments(small_run, "second", 4, 3, start=first.checkpoint)

    with pytest.raises(IntegrityError, match=r"have seen 2 of 2 test tiles of .*fold1\.h5"):
        run(replace(second, unseen=(small_run.tiles(1),)))


def test_seen_validation_tiles_are_warned_of_and_recorded(small_run, old, caplog):
    given = arguments(small_run, "new", 3, 1, start=old)

    with caplog.at_level(logging.WARNING):
        run(given)

    header = read_header(given.checkpoint)
    assert header.start is not None
    assert header.start.n_validation_tiles_seen == 2
    assert "the start weights have seen 2 of 2 validation tiles" in caplog.text


def test_the_licence_of_the_start_is_inherited(small_run, old):
    given = arguments(small_run, "new", 3, 4, start=rewritten(old, licence="for research only"))

    run(given)

    assert read_header(given.checkpoint).licence.endswith("; for research only")
