"""Settings are read without guessing: no key twice, no value of another type; files and --config alike."""

from pathlib import Path

import pytest

from cellvit.config.settings import load_settings
from cellvit.config.strict import given_values, read_settings_file
from cellvit.errors import SettingsError


def refusal(raw: dict[str, object]) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(raw)
    return str(caught.value)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param({"seed": True}, "seed: must be a number, found true", id="true"),
        pytest.param({"training": {"epochs": True}}, "training.epochs: must be a number, found true", id="deeper"),
        pytest.param(
            {"training": {"epochs": "10"}}, "training.epochs: must be a number, found the text '10'", id="text"
        ),
        pytest.param({"training": {"augment": 1}}, "training.augment: must be true or false, found 1", id="one"),
        pytest.param(
            {"training": {"augment": "yes"}}, "training.augment: must be true or false, found the text 'yes'", id="yes"
        ),
        pytest.param({"data": {"folds": [1, True]}}, "data.folds: must be a number, found true", id="in_a_list"),
        pytest.param(
            {"families": {"a": {"organs": ["Lung"], "training": {"steps": "9"}}}},
            "families.a.training.steps: must be a number, found the text '9'",
            id="of_one_family",
        ),
        pytest.param(
            {"features": {"batch_size": True}},
            "features.batch_size: must be auto or a number from 1 to 4096",
            id="or_auto",
        ),
        pytest.param({"results": 5}, "results: input should be a valid string, found 5", id="number_as_text"),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(raw: dict[str, object], expected: str) -> None:
    assert expected in refusal(raw)


def test_all_faults_are_named_at_once() -> None:
    message = refusal({"seed": True, "trainig": {}, "training": {"epochs": "10", "batch_sise": 4}})

    assert "seed: must be a number" in message
    assert "trainig: unknown key; did you mean training?" in message
    assert "training.epochs: must be a number" in message
    assert "training.batch_sise: unknown key; did you mean batch_size?" in message


def split(train: int, test: int) -> dict[str, int]:
    return {"train": train, "validate": 2, "test": test}


def custom(**changed: object) -> dict[str, object]:
    given = {
        "name": "x",
        "architecture": "x",
        "mean": [0.5] * 3,
        "std": [0.2] * 3,
        "depth": 4,
        "dim": 96,
        "cls_std": [0.1, 5],
    }
    return {"encoder": {"preset": "custom", "weights": "random", "custom": given | changed}}


def gate(name: str, passes: float, partial: float | None = None) -> dict[str, object]:
    return {"gates": {"quality": {name: {"pass": passes, "partial": partial}}}}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(
            {"splits": {"1": split(1, 3), "2": split(1, 3)}}, "splits 1 and 2 have the same folds", id="splits"
        ),
        pytest.param(gate("aji", 50), "gates.quality.aji.pass=50: no value could pass", id="percent"),
        pytest.param(gate("np_dice", 1), "gates.quality.np_dice.pass=1: no value could pass", id="best"),
        pytest.param(gate("np_dice", -1), "gates.quality.np_dice.pass=-1: no value could fail", id="below_worst"),
        pytest.param(gate("hv_angle", 200), "gates.quality.hv_angle.pass=200: no value could fail", id="angle"),
        pytest.param(gate("gap_np_dice", 2), "gates.quality.gap_np_dice.pass=2: no value could fail", id="gap"),
        pytest.param(gate("aji", 0.3, 0.5), "gates.quality.aji.partial=0.5 must be weaker than pass=0.3", id="partial"),
        pytest.param(
            gate("hv_angle", 45, 30), "hv_angle.partial=30 must be weaker than pass=45", id="partial_of_errors"
        ),
        pytest.param(
            {"training": {"loss": {"np_weight": 0, "hv_weight": 0, "nt_weight": 0}}},
            "nothing would be trained",
            id="no_loss",
        ),
        pytest.param(
            {"training": {"loss": {"hv_regression_weight": 0, "hv_gradient_weight": 0, "hv_magnitude_weight": 0}}},
            "HV would not be trained",
            id="no_part_of_hv",
        ),
        pytest.param({"decoder": {"blocks": [39, 39]}}, "decoder.blocks: a block is listed twice", id="block_twice"),
        pytest.param(
            custom(mean=[123.7, 116.3, 103.5]), "custom.mean.0: input should be less than or equal to 1", id="mean"
        ),
        pytest.param(custom(std=[0, 0, 0]), "custom.std.0: input should be greater than 0", id="std"),
        pytest.param(custom(cls_std=[5, 0.1]), "custom.cls_std: must be in increasing order", id="band"),
    ],
)
def test_a_setting_with_which_a_wrong_number_would_look_right_is_refused(raw: dict[str, object], expected: str) -> None:
    assert expected in refusal(raw)


def test_whole_numbers_and_exponents_are_numbers() -> None:
    settings = load_settings({"cache": {"max_gb": 5}, "training": {"learning_rate": "1e-4"}})

    assert (settings.cache.max_gb, settings.training.learning_rate) == (5.0, 1e-4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("seed: 1\ndevice: cpu\nseed: 2\n", "the key 'seed' occurs twice, in lines 1 and 3", id="section"),
        pytest.param("training:\n  loss: {np_weight: 1, np_weight: 2}\n", "'np_weight' occurs twice", id="deep"),
        pytest.param('{"seed": 1, "seed": 2}', "'seed' occurs twice", id="json"),
        pytest.param("a: &a {s: 1}\nb: {<<: *a, <<: *a}\n", "'<<' occurs twice", id="merge"),
        pytest.param("splits: {1: null, +1: null}\n", "'+1' occurs twice", id="sign"),
        pytest.param("splits: {no: null}\n", "a key must be text, found no; write it in quotes", id="no"),
        pytest.param("- seed\n", 'expected lines of "key: value", found list', id="list"),
        pytest.param("seed: [1\n", "this is not valid YAML", id="bracket"),
        pytest.param("a: " + "[" * 100_000, "this is not valid YAML", id="nested"),
    ],
)
def test_a_settings_file_that_is_not_clear_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)

    with pytest.raises(SettingsError) as caught:
        read_settings_file(path)

    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_merged_mapping_may_be_overridden(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("a: &a {s: 1, t: 1}\nb: &b {<<: *a, s: 2}\nc: {<<: *b, t: 3}\n")

    assert read_settings_file(path)["c"] == {"s": 2, "t": 3}


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(SettingsError, match=r"mine\.yaml: cannot be read as UTF-8 text"):
        read_settings_file(path)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (["seed=1", "seed=2"], "--config seed: the key is given twice"),
        (["training={epochs: 1, epochs: 2}"], "'epochs' occurs twice"),
        (["seed"], "expected KEY=VALUE"),
    ],
)
def test_a_value_of_the_command_line_that_is_not_clear_is_refused(pairs: list[str], expected: str) -> None:
    with pytest.raises(SettingsError) as caught:
        given_values(pairs)

    assert expected in str(caught.value)


def test_values_of_the_command_line_keep_their_types() -> None:
    values = given_values(['data={"root": null, "folds": [1, 2]}', "training={augment: false}"])

    assert values == {"data": {"root": None, "folds": [1, 2]}, "training": {"augment": False}}


PATHS = (("results",), ("data", "root"), ("encoder", "weights"), ("prediction", "images"))


def with_path(place: tuple[str, ...], path: str) -> dict[str, object]:
    raw: dict[str, object] = {place[-1]: path}
    return {place[0]: raw} if len(place) == 2 else raw


@pytest.mark.parametrize("place", PATHS, ids=".".join)
def test_the_home_folder_of_a_user_may_be_written_as_a_tilde(
    place: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/user")

    found: object = load_settings(with_path(place, "~/mine"))
    for name in place:
        found = getattr(found, name)

    assert found == "/home/user/mine"


@pytest.mark.parametrize("place", PATHS, ids=".".join)
@pytest.mark.parametrize("path", ["$HOME/mine", "-mine", "a\tb", "{mine}", "~nobody-has-this-name/mine"])
def test_a_path_that_would_be_taken_by_the_letter_is_refused(place: tuple[str, ...], path: str) -> None:
    assert f"{'.'.join(place)}: " in refusal(with_path(place, path))


def test_a_folder_of_checkpoints_keeps_the_slash_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/user")

    settings = load_settings({"training": {"start_from": "~/bundle/"}})

    assert settings.training.start_from == "/home/user/bundle/"


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint_path",
        "pretrained",
        "pretrained_cfg",
        "pretrained_cfg_overlay",
        "pretrained_strict",
        "cache_dir",
        "features_only",
    ],
)
def test_arguments_of_an_encoder_cannot_load_weights_past_the_setting_that_names_them(name: str) -> None:
    custom = {"name": "vit_tiny", "architecture": "vit_tiny_patch16_224", "mean": [0.5] * 3, "std": [0.5] * 3}
    custom |= {"patch_px": 16, "cls_std": [0.1, 5], "depth": 12, "dim": 192, "arguments": {name: "w.pth"}}

    message = refusal({"encoder": {"preset": "custom", "weights": "random", "custom": custom}})

    assert f"encoder.custom.arguments: must not have {name}" in message
