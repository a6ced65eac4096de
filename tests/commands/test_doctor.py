import re

import pytest
import yaml
from pretend_gpus import FIRST, HOLD, SECOND, environment, first_line, start

from cellvit.__main__ import main


@pytest.fixture
def doctor(tmp_path, repository, capsys, monkeypatch):
    """Run `doctor` on changes over config.yaml; exit code and everything it says."""

    def run(changes):
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(changes))
        monkeypatch.chdir(tmp_path)
        code = main(["doctor", "--base", str(repository / "config.yaml"), "--configfile", str(path)])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def test_missing_data_and_token_are_said_together(doctor, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)

    code, said = doctor({"data": {"root": str(tmp_path / "nowhere")}})

    assert code == 1
    assert "images.npy" in said
    assert "Set data.root to the folder that holds" in said
    assert "https://huggingface.co/bioptimus/H-optimus-0" in said
    assert "hf auth login" in said
    assert "the run would stop: data, weights" in said


def test_folds_that_are_there_are_counted(doctor, write_raw_fold, tmp_path):
    for fold in (1, 2, 3):
        write_raw_fold(tmp_path / "raw", fold, ["Colon"] * fold)

    code, said = doctor(
        {
            "data": {"root": str(tmp_path / "raw")},
            "encoder": {"preset": "tiny-vit", "weights": "random"},
            "device": "cpu",
        }
    )

    assert code == 0
    assert "fold 1: 1 tiles, fold 2: 2 tiles, fold 3: 3 tiles" in said
    assert "untrained" in said
    assert said.rstrip().endswith("ready:  snakemake --cores all")


def test_a_missing_weights_file_is_named(doctor, write_raw_fold, tmp_path):
    for fold in (1, 2, 3):
        write_raw_fold(tmp_path / "raw", fold, ["Colon"])

    code, said = doctor({"data": {"root": str(tmp_path / "raw")}, "encoder": {"weights": "weights/none.safetensors"}})

    assert code == 1
    assert "weights/none.safetensors: no such file" in said


def test_a_wrong_setting_is_said_before_anything_else(doctor):
    code, said = doctor({"training": {"epoch": 3}})

    assert code == 1
    assert "training.epoch: unknown key; did you mean epochs?" in said


def test_mappings_are_merged_as_snakemake_merges_them(doctor, write_raw_fold, tmp_path):
    for fold in (1, 2, 3):
        write_raw_fold(tmp_path / "raw", fold, ["Colon"])

    code, said = doctor(
        {
            "data": {"root": str(tmp_path / "raw")},
            "splits": {"2": None, "3": None},
            "encoder": {"preset": "tiny-vit", "weights": "random"},
        }
    )

    assert code == 0, said


def test_patients_that_do_not_fit_their_fold_are_said(doctor, write_raw_fold, tmp_path):
    for fold in (1, 2, 3):
        write_raw_fold(tmp_path / "raw", fold, ["Colon"], patients=["p1"] * fold)

    code, said = doctor({"data": {"root": str(tmp_path / "raw")}})

    assert code == 1
    assert "patients.npy: expected names of patients (1,) as text" in said


def test_every_view_and_tap_counts_for_the_disk(doctor, tmp_path):
    encoder = {"encoder": {"preset": "tiny-vit", "weights": "random"}, "data": {"root": str(tmp_path / "nowhere")}}

    wanted = [
        float(re.search(r"about ([\d.]+) GB wanted", doctor({**encoder, "features": features})[1])[1])
        for features in ({}, {"taps": [0, 3]}, {"views": ["dihedral8"], "colour_views": 2})
    ]

    grid = 7901 * 16 * 16 * 96 * 2 / 1e9  # PanNuke's tiles, tiny-vit's tokens in float16
    assert wanted[1] - wanted[0] == pytest.approx(grid, abs=0.11)
    assert wanted[2] - wanted[0] == pytest.approx(9 * grid, abs=0.11)


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
    """Two pretend GPUs, one of which a process holds; its id."""
    machine = environment(tmp_path)
    for name in ("PATH", "CELLVIT_GPU_LOCKS"):
        monkeypatch.setenv(name, machine[name])
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    holder = start(HOLD, machine)
    assert first_line(holder) == FIRST
    yield holder.pid
    holder.communicate("")


SMALL = {"data": {"root": "nowhere"}, "encoder": {"preset": "tiny-vit", "weights": "random"}}


def test_devices_are_listed_with_who_holds_them(doctor, two_gpus):
    _, said = doctor(SMALL)

    assert f"0 Pretend P1 {FIRST}: held by pid {two_gpus}, train_hovernet, since " in said
    assert f"1 Pretend P1 {SECOND}: free" in said
    assert "snakemake --workflow-profile profiles/workstation" in said


def test_only_devices_that_the_user_allows_are_listed(doctor, two_gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")

    _, said = doctor(SMALL)

    assert FIRST not in said
    assert f"1 Pretend P1 {SECOND}: free" in said


def test_a_choice_of_devices_that_would_stop_a_step_is_said_with_the_rest(doctor, two_gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")

    code, said = doctor(SMALL)

    assert code == 1
    assert "no device is named '5'" in said
    assert "the run would stop: data, devices" in said


def test_in_a_slurm_job_devices_are_the_schedulers(doctor, two_gpus, monkeypatch):
    monkeypatch.delenv("CELLVIT_GPU_LOCKS")
    monkeypatch.setenv("SLURM_JOB_ID", "7")

    _, said = doctor(SMALL)

    assert "left to the scheduler" in said
