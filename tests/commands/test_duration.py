"""How long a run takes: the work that the settings ask for, at the speed of the machine."""

import socket
from collections.abc import Mapping

import pytest

from cellvit.commands.checks import speed
from cellvit.commands.checks.duration import Work, counts_of, duration_lines, seconds_by_part, work_of
from cellvit.commands.checks.speed import Speed, measured_speed
from cellvit.config.settings import Settings, load_settings

SPEED = Speed(device="cuda", encode_s=0.01, train_s=0.02, forward_s=0.005, decode_s=0.006, start_s=5)

DEMO: Mapping[str, object] = {
    "data": {"root": None, "simulated": {"tiles_per_fold": 38}},
    "splits": {"1": {"train": 1, "validate": 2, "test": 3}},
    "encoder": {"preset": "efficientnet-lite0"},
    "features": {"input_px": 256, "views": ["identity", "flip"]},
    "training": {"steps": 64, "record_every": 64, "validate_every": 64, "batch_size": 2},
}


def settings(**changes: object) -> Settings:
    return load_settings({**DEMO, **changes})


def seconds_of(part: str, of: Settings, *, n_gpus: int = 1) -> float:
    return seconds_by_part(work_of(of, SPEED), n_cores=8, n_gpus=n_gpus)[part]


def test_tiles_decoders_and_roles_are_counted() -> None:
    counts = counts_of(settings())

    assert (counts.tiles, counts.folds, counts.splits, counts.decoders, counts.decoders_per_tile) == (114, 3, 1, 6, 2)
    assert counts.by_role == {"train": 38, "validate": 38, "test": 38}


def test_twice_the_views_take_twice_the_time_for_features() -> None:
    one = settings(features={"input_px": 256, "views": ["identity"]})

    assert seconds_of("features", settings()) == pytest.approx(2 * seconds_of("features", one))


def test_a_further_seed_trains_and_evaluates_everything_again() -> None:
    again = settings(further_seeds=[1], organ_head={"epochs": 1})
    once = settings(organ_head={"epochs": 1})

    assert seconds_of("decoders", again) == pytest.approx(2 * seconds_of("decoders", once), rel=0.01)
    assert seconds_of("tuning", again) == pytest.approx(2 * seconds_of("tuning", once))


def test_steps_share_several_gpus_but_no_more_than_they_have_jobs() -> None:
    one, three, hundred = (seconds_of("features", settings(), n_gpus=n) for n in (1, 3, 100))

    assert one == pytest.approx(3 * three)
    assert hundred == pytest.approx(three), "three folds"


def test_without_a_gpu_one_step_computes_on_up_to_four_threads() -> None:
    work = [Work("features", device_s=80, core_s=8, n_jobs=3)]

    found = [seconds_by_part(work, n_cores=n, n_gpus=0)["features"] for n in (1, 2, 4, 64)]

    assert found == [88, 44, 22, 22]


def test_steps_of_the_processor_use_all_cores() -> None:
    work = [Work("tuning", device_s=0, core_s=80, n_jobs=100, needs_gpu=False)]

    assert seconds_by_part(work, n_cores=64, n_gpus=1)["tuning"] == 80 / 64


def test_a_speed_is_measured_without_weights_or_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(speed, "_SECONDS", 0.01)
    monkeypatch.setattr(speed, "_start", lambda: 1.0)
    small = {"widths": [16, 12, 8, 8, 8], "stem_widths": [4, 8]}

    pyramid = measured_speed(settings(decoder=small, device="cpu"))
    other = {"encoder": {"preset": "tiny-vit", "weights": "random"}, "features": {"views": ["identity"]}}
    vit = measured_speed(settings(decoder=small, device="cpu", **other))

    for found in (pyramid, vit):
        assert found.device == "cpu"
        assert min(found.encode_s, found.train_s, found.forward_s, found.decode_s) > 0
        assert found.forward_s < found.train_s


def test_the_estimate_is_a_range_with_its_parts_in_100_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellvit.commands.checks.duration.measured_speed", lambda _: SPEED)

    lines = duration_lines(settings())
    assumed = duration_lines(load_settings({"data": {"root": "nowhere"}}))

    assert lines[0].startswith("time:  about ")
    assert " to " in lines[0]
    text = " ".join(map(str.strip, lines))
    assert all(f"{part} " in text for part in ("data", "features", "decoders", "tuning", "evaluation"))
    assert "114 tiles, 2 views, 6 decoders" in text
    assert "7,901 tiles (assumed" in " ".join(map(str.strip, assumed))
    assert max(map(len, lines + assumed)) <= 100


def test_an_encoder_that_does_not_fit_is_no_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Settings) -> Speed:
        raise RuntimeError("not enough memory: you tried to allocate 4 bytes")

    monkeypatch.setattr("cellvit.commands.checks.duration.measured_speed", full)

    (line,) = duration_lines(settings())

    assert line == "time:  could not be measured: not enough memory: you tried to allocate 4 bytes"
