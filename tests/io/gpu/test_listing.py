import logging
from pathlib import Path

import pytest
from pretend_gpus import FIRST, SECOND, TWO, environment

from cellvit.errors import SettingsError
from cellvit.workflow.gpu.listing import Gpu, listed_gpus, parsed, visible_gpus

DIVIDED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-e91edf3b-b297-37c1-a2a7-7601c3238fa2)
  MIG 3g.20gb     Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
  MIG 1g.5gb      Device  1: (UUID: MIG-GPU-e91edf3b-b297-37c1-a2a7-7601c3238fa2/7/0)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-11111111-bbbb)
"""
CARD, PART, OLD_PART = (
    "GPU-e91edf3b-b297-37c1-a2a7-7601c3238fa2",
    "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f",
    "MIG-GPU-e91edf3b-b297-37c1-a2a7-7601c3238fa2/7/0",
)
UNEQUAL = """\
GPU 0: NVIDIA T400 (UUID: GPU-00000000-aaaa)
GPU 1: NVIDIA RTX A6000 (UUID: GPU-11111111-bbbb)
"""


def uuids(gpus: tuple[Gpu, ...]) -> list[str]:
    return [gpu.uuid for gpu in gpus]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose only tool is an nvidia-smi that a test writes, with one device node."""
    for folder in ("tools", "dev"):
        (tmp_path / folder).mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    monkeypatch.setenv("PATH", str(tmp_path / "tools"))
    return tmp_path


def install(machine: Path, script: str) -> None:
    tool = machine / "tools" / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}")
    tool.chmod(0o755)


def test_devices_are_those_that_nvidia_smi_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", environment(tmp_path, TWO)["PATH"])

    first, second = listed_gpus()

    assert first == Gpu(FIRST, 0, FIRST, "Pretend P1")
    assert str(second) == f"1 Pretend P1 {SECOND}"


def test_a_card_that_is_divided_stands_for_its_parts() -> None:
    gpus = parsed(DIVIDED)

    assert uuids(gpus) == [PART, OLD_PART, SECOND]
    assert gpus[0] == Gpu(PART, 0, CARD, "NVIDIA A100-SXM4-40GB", "3g.20gb")


def test_a_machine_without_gpus_says_nothing(machine: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert listed_gpus(devices=tmp_path / "nowhere") == ()
    assert caplog.text == ""


def test_gpus_without_nvidia_smi_are_said(machine: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert listed_gpus(devices=machine / "dev") == ()
    assert "nvidia-smi is not on PATH" in caplog.text


def test_a_damaged_card_does_not_hide_the_others(machine: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(
        machine,
        f'echo "Unable to determine the device handle for GPU0: it is lost"\necho "{TWO.splitlines()[1]}"\nexit 15\n',
    )

    gpus = listed_gpus()

    assert uuids(gpus) == [SECOND]
    assert gpus[0].index == 1
    assert "it is lost" in caplog.text
    assert "code=15" in caplog.text


def test_an_nvidia_smi_that_cannot_run_is_said(machine: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(machine, "")
    (machine / "tools" / "nvidia-smi").write_text("#!/nowhere/at/all\n")

    assert listed_gpus() == ()
    assert "does not answer" in caplog.text


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param("0", [PART, OLD_PART], id="number_of_a_divided_card"),
        pytest.param("1", [SECOND], id="number"),
        pytest.param("1, 0", [SECOND, PART, OLD_PART], id="order"),
        pytest.param("1,1", [SECOND], id="twice"),
        pytest.param(SECOND, [SECOND], id="uuid"),
        pytest.param("GPU-1111", [SECOND], id="beginning_of_a_uuid"),
        pytest.param(CARD, [PART, OLD_PART], id="uuid_of_a_divided_card"),
        pytest.param(f"{PART},{SECOND}", [PART, SECOND], id="part"),
        pytest.param(OLD_PART, [OLD_PART], id="part_as_older_drivers_name_it"),
        pytest.param("1,-1,0", [SECOND], id="up_to_minus_one"),
        pytest.param("-1", [], id="minus_one"),
        pytest.param("", [], id="empty"),
        pytest.param("NoDevFiles", [], id="slurms_none"),
    ],
)
def test_the_users_choice_narrows(wanted: str, expected: list[str]) -> None:
    assert uuids(visible_gpus(parsed(DIVIDED), {"CUDA_VISIBLE_DEVICES": wanted})) == expected


def test_without_a_choice_every_device_may_be_taken() -> None:
    assert uuids(visible_gpus(parsed(DIVIDED), {})) == [PART, OLD_PART, SECOND]


@pytest.mark.parametrize("wanted", ["2", "GPU-77", "cuda:1", "1,2"])
def test_a_choice_that_is_no_device_names_those_that_are(wanted: str) -> None:
    with pytest.raises(SettingsError) as caught:
        visible_gpus(parsed(TWO), {"CUDA_VISIBLE_DEVICES": wanted})

    assert f"CUDA_VISIBLE_DEVICES={wanted}: no device is named" in str(caught.value)
    assert f"  1 Pretend P1 {SECOND}" in str(caught.value)
    assert "unset CUDA_VISIBLE_DEVICES" in str(caught.value)


def test_numbers_of_unequal_cards_want_an_order_of_counting() -> None:
    gpus = parsed(UNEQUAL)

    with pytest.raises(SettingsError, match="Set CUDA_DEVICE_ORDER=PCI_BUS_ID"):
        visible_gpus(gpus, {"CUDA_VISIBLE_DEVICES": "0"})

    assert uuids(visible_gpus(gpus, {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"})) == [FIRST]
    assert uuids(visible_gpus(gpus, {"CUDA_VISIBLE_DEVICES": SECOND})) == [SECOND]


def test_a_machine_whose_listing_failed_keeps_the_users_choice_to_cuda(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert visible_gpus(parsed("NVIDIA-SMI has failed\n"), {"CUDA_VISIBLE_DEVICES": "3"}) == ()

    assert "NVIDIA-SMI has failed" in caplog.text
