"""Real processes and real locks on pretend GPUs."""

import os
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from pretend_gpus import FIRST, HOLD, SECOND, TWO, environment, first_line, locks, start, until

from cellvit.errors import SettingsError
from cellvit.workflow.gpu import allowed_gpus, assign_gpu, lock_folder, usage

ONE = TWO.splitlines(keepends=True)[0]
DIVIDED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-e91edf3b)
  MIG 3g.20gb     Device  0: (UUID: MIG-c6d4f1ef)
  MIG 1g.5gb      Device  1: (UUID: MIG-GPU-e91edf3b/7/0)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-11111111-bbbb)
"""
CARD, PART, OLD_PART = "GPU-e91edf3b", "MIG-c6d4f1ef", "MIG-GPU-e91edf3b/7/0"

TAKE_TURNS = """\
import os, sys, time
from pathlib import Path
from cellvit.workflow.gpu import assign_gpu

assign_gpu("train_hovernet")
seen, mine = Path(sys.argv[1]), os.environ["CUDA_VISIBLE_DEVICES"]
busy = seen / f"{mine}.busy"
busy.mkdir()  # fails where another job is on the same GPU
Path(seen, f"{os.getpid()}.job").write_text(mine)
while len(list(seen.glob("*.job"))) < 2:  # the first two jobs run at the same time
    time.sleep(0.01)
time.sleep(0.1)
busy.rmdir()
"""
START_CHILDREN = HOLD.replace(
    "print(",
    """\
import multiprocessing, subprocess, time
forked = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
forked.start()
print(forked.pid, subprocess.Popen(["sleep", "600"], close_fds=False).pid, """,
)
FAIL_TO_LOCK = """\
import errno, fcntl
def flock(file, operation):
    raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = flock
"""
DELETE_BEFORE_LOCKING = """\
import fcntl, os, pathlib
def flock(file, operation, lock=fcntl.flock):
    fcntl.flock = lock
    pathlib.Path(os.environ["CELLVIT_GPU_LOCKS"], "GPU-00000000-aaaa").unlink()
    lock(file, operation)
fcntl.flock = flock
"""


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen]]:
    """Start a program as `pretend_gpus.start` does; it is killed when the test ends."""
    processes: list[subprocess.Popen] = []

    def begin(*arguments: object, log: Path | None = None) -> subprocess.Popen:
        processes.append(start(*arguments, log=log))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let this process run on a machine with these GPUs."""

    def enter(*given: object, **more: object) -> None:
        for name in ("SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment(tmp_path, *given, **more).items():
            monkeypatch.setenv(name, value)

    return enter


def logged(log: Path, text: str) -> bool:
    return log.exists() and text in log.read_text()


def test_five_jobs_share_two_gpus_and_never_use_one_at_the_same_time(tmp_path: Path, started) -> None:
    machine = environment(tmp_path)

    jobs = [started(TAKE_TURNS, machine, tmp_path, log=tmp_path / f"{number}.log") for number in range(5)]
    codes = [job.wait(60) for job in jobs]

    assert codes == [0] * 5, [path.read_text() for path in sorted(tmp_path.glob("*.log"))]
    assert {path.read_text() for path in tmp_path.glob("*.job")} == {FIRST, SECOND}


def test_a_waiting_job_logs_who_holds_the_gpus_and_takes_the_one_of_a_killed_job(tmp_path: Path, started) -> None:
    machine, log = environment(tmp_path), tmp_path / "third.log"
    holders = {first_line(holder): holder for holder in (started(HOLD, machine), started(HOLD, machine))}

    third = started(HOLD, machine, log=log)
    until(lambda: logged(log, "every GPU is held"))
    holders[SECOND].send_signal(signal.SIGKILL)

    assert first_line(third) == SECOND
    for number, uuid in enumerate((FIRST, SECOND)):
        assert logged(log, f"{number} Pretend P1 {uuid}: held by pid {holders[uuid].pid}, train_hovernet, since 20")
    assert logged(log, f"gpu=1 Pretend P1 {SECOND}")


def test_child_processes_that_outlive_a_killed_job_hold_no_gpu(tmp_path: Path, started) -> None:
    machine = environment(tmp_path, ONE)
    holder = started(START_CHILDREN, machine)
    children = [int(pid) for pid in first_line(holder).split()[:2]]
    try:
        holder.send_signal(signal.SIGKILL)
        holder.wait()

        assert first_line(started(HOLD, machine)) == FIRST
        assert all("S (sleeping)" in Path(f"/proc/{pid}/status").read_text() for pid in children)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("listing", "variables"),
    [
        pytest.param(TWO, {"CUDA_VISIBLE_DEVICES": ""}, id="user_allows_none"),
        pytest.param(TWO, {"CUDA_VISIBLE_DEVICES": "-1"}, id="user_allows_none_with_minus_one"),
        pytest.param("", {}, id="no_gpu"),
        pytest.param("NVIDIA-SMI has failed\n", {"CUDA_VISIBLE_DEVICES": "3"}, id="no_list"),
        pytest.param(TWO, {"CELLVIT_GPU_LOCKS": "none", "CUDA_VISIBLE_DEVICES": "1"}, id="other_scheduler"),
        pytest.param(TWO, {"CELLVIT_GPU_LOCKS": "", "SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0"}, id="slurm"),
    ],
)
def test_nothing_is_locked_or_changed(tmp_path: Path, started, listing: str, variables: dict[str, str]) -> None:
    job = started(HOLD, environment(tmp_path, listing, **variables))

    assert first_line(job) == str(variables.get("CUDA_VISIBLE_DEVICES"))
    assert not locks(tmp_path).exists()


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"TMPDIR": "/scratch/ann"}, "/tmp/cellvit-gpus"),
        ({"SLURM_JOB_ID": "7", "CELLVIT_GPU_LOCKS": "/job"}, "/job"),
        ({"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0,1"}, "/tmp/cellvit-gpus-job7"),
        ({"SLURM_JOB_ID": "7"}, "/tmp/cellvit-gpus"),  # SLURM assigns none: all jobs of the node see all cards
    ],
)
def test_all_users_share_one_folder_unless_another_is_named(machine, variables: dict[str, str], folder: str) -> None:
    machine(**{"CELLVIT_GPU_LOCKS": "", **variables})

    assert lock_folder() == Path(folder)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param(None, [PART, OLD_PART, SECOND], id="not_set"),
        pytest.param("0", [PART, OLD_PART], id="number_of_a_divided_card"),
        pytest.param("1", [SECOND], id="number"),
        pytest.param("1, 0,1", [SECOND, PART, OLD_PART], id="order_without_repetition"),
        pytest.param(SECOND, [SECOND], id="uuid"),
        pytest.param("GPU-1111", [SECOND], id="start_of_a_uuid"),
        pytest.param(CARD, [PART, OLD_PART], id="uuid_of_a_divided_card"),
        pytest.param(f"{PART},{SECOND}", [PART, SECOND], id="mig_part"),
        pytest.param(OLD_PART, [OLD_PART], id="mig_part_of_an_old_driver"),
        pytest.param("1,-1,0", [SECOND], id="up_to_minus_one"),
        pytest.param("NoDevFiles", [], id="none_in_the_word_of_slurm"),
    ],
)
def test_cuda_visible_devices_narrows_the_list(machine, wanted: str | None, expected: list[str]) -> None:
    machine(DIVIDED, **({} if wanted is None else {"CUDA_VISIBLE_DEVICES": wanted}))

    assert [gpu.uuid for gpu in allowed_gpus()] == expected


@pytest.mark.parametrize(
    ("cards", "wanted", "expected"),
    [
        pytest.param([(2048, 1900, 6.1), (49140, 48000, 8.6)], None, [SECOND], id="display_card_in_slot_0"),
        pytest.param([(2048, 1900, 6.1), (49140, 48000, 8.6)], "0", [FIRST], id="display_card_by_name"),
        pytest.param([(24564, 2000, 8.9), (24564, 24000, 8.9)], None, [SECOND, FIRST], id="most_free_memory_first"),
        pytest.param([(24564, 24000, 6.0), (24564, 20000, 8.9)], None, [SECOND], id="old_card_beside"),
        pytest.param([(24564, 24000, 6.0), (8192, 8000, 8.9)], None, [SECOND], id="old_card_with_more_memory"),
        pytest.param([(24564, 20000, 6.0), (24564, 24000, 7.0)], None, [SECOND, FIRST], id="old_cards_alone"),
        pytest.param([(24564, 24000, 6.0), (24564, 20000, 8.9)], "0,1", [FIRST, SECOND], id="old_card_by_name"),
        pytest.param([("[N/A]", "[N/A]", "[N/A]")] * 2, None, [FIRST, SECOND], id="unknown"),
        pytest.param(
            [(40960, 40000, 8.0, "Enabled"), (40960, 900, 8.0)], None, [SECOND], id="mig_without_parts_beside"
        ),
        pytest.param([(40960, 40000, 8.0, "Enabled")] * 2, None, [FIRST, SECOND], id="mig_without_parts_alone"),
    ],
)
def test_cards_are_chosen_by_memory_and_capability(machine, cards, wanted, expected: list[str]) -> None:
    answers = [(*card, "[N/A]")[:4] for card in cards]  # MIG mode, where a card has none
    lines = [", ".join(map(str, (uuid, *card))) for uuid, card in zip((FIRST, SECOND), answers, strict=True)]
    answer = "".join(f"{line}\n" for line in lines)
    machine(cards=answer, **({} if wanted is None else {"CUDA_VISIBLE_DEVICES": wanted}))

    assert [gpu.uuid for gpu in allowed_gpus()] == expected


@pytest.mark.parametrize("wanted", ["2", "GPU-77", "cuda:1", "1,2"])
def test_an_unknown_device_is_an_error_that_lists_the_known_ones(machine, wanted: str) -> None:
    machine(CUDA_VISIBLE_DEVICES=wanted)

    with pytest.raises(SettingsError, match=f"CUDA_VISIBLE_DEVICES={wanted}: no device is named") as caught:
        allowed_gpus()

    assert f"  1 Pretend P1 {SECOND}\nFix: " in str(caught.value)


@pytest.mark.parametrize(
    "cards",
    [
        pytest.param("No devices were found\n", id="no_device"),
        pytest.param("NVIDIA-SMI has failed, because it could not communicate with the driver\n", id="no_driver"),
        pytest.param(f"{FIRST}, 100\n{SECOND}, 1, 2, 3, 4, 5\n\n", id="other_columns"),
        pytest.param("", id="silent"),
    ],
)
def test_messages_in_place_of_the_memory_are_no_cards(machine, cards: str) -> None:
    machine(cards=cards)

    assert [gpu.uuid for gpu in allowed_gpus()] == [FIRST, SECOND]


def test_a_list_that_fails_is_no_gpu(machine) -> None:
    machine("NVIDIA-SMI has failed\n", code=9, cards="NVIDIA-SMI has failed\n")

    assert allowed_gpus() == ()


def test_a_damaged_card_does_not_hide_the_others(machine, caplog: pytest.LogCaptureFixture) -> None:
    machine("GPU0 is lost\n" + DIVIDED, code=15)

    assert str(allowed_gpus()[1]) == f"0 NVIDIA A100-SXM4-40GB MIG 1g.5gb {OLD_PART}"
    assert "code=15 output=GPU0 is lost" in caplog.text


def test_a_lost_card_does_not_hide_the_memory_of_the_others(machine) -> None:
    lost = "Unable to determine the device handle for GPU0: 0000:01:00.0: Unknown Error\n"
    machine(code=15, cards=f"{lost}{FIRST}, 2048, 1900, 8.6, [N/A]\n{SECOND}, 49140, 48000, 8.6, [N/A]\n")

    assert [gpu.uuid for gpu in allowed_gpus()] == [SECOND]


def test_a_file_system_without_locks_is_a_warning(tmp_path: Path, started) -> None:
    log = tmp_path / "log"

    assert first_line(started(FAIL_TO_LOCK + HOLD, environment(tmp_path), log=log)) == "None"
    assert log.read_text().count("WARNING") == 1
    assert logged(log, "the file system does not support locks")


def test_a_lock_file_that_is_deleted_before_it_is_locked_is_created_again(machine, tmp_path: Path, started) -> None:
    machine(ONE)
    holder = started(DELETE_BEFORE_LOCKING + HOLD, dict(os.environ))

    assert first_line(holder) == FIRST
    assert f"held by pid {holder.pid}" in usage(allowed_gpus(), locks(tmp_path))[0]


def test_control_characters_in_a_lock_file_are_not_printed(machine, tmp_path: Path, started) -> None:
    machine(ONE)
    first_line(started(HOLD, dict(os.environ)))
    (locks(tmp_path) / FIRST).write_text("pid 1\n\x1b[31mERROR")

    assert usage(allowed_gpus(), locks(tmp_path))[0].endswith("held by pid 1??[31mERROR")


@pytest.mark.parametrize(
    ("command", "found"),
    [
        pytest.param("ln -s ../home/letter locks/{lock}", "symbolic link", id="link"),
        pytest.param("ln home/letter locks/{lock}", "hard link", id="hard_link"),
        pytest.param("mkfifo locks/{lock}", "pipe", id="pipe"),
        pytest.param("rmdir locks && ln -s home locks", "symbolic link", id="folder"),
    ],
)
def test_links_and_pipes_of_other_users_are_refused(machine, tmp_path: Path, command: str, found: str) -> None:
    machine(ONE)
    letter = tmp_path / "home" / "letter"
    for folder in (letter.parent, locks(tmp_path)):
        folder.mkdir()
    letter.write_text("do not touch")
    subprocess.run(command.format(lock=FIRST), shell=True, cwd=tmp_path, check=True)

    with pytest.raises(SettingsError, match=f"{found}.*Fix: .*CELLVIT_GPU_LOCKS"):
        assign_gpu("train_hovernet")

    assert letter.read_text() == "do not touch"
    assert list(letter.parent.iterdir()) == [letter]


@pytest.mark.parametrize("folder", ["locks", "/nowhere/locks"])
def test_a_folder_that_cannot_be_used_is_an_error(machine, folder: str) -> None:
    machine(CELLVIT_GPU_LOCKS=folder)

    with pytest.raises(SettingsError, match=f"^{folder}: expected a local folder"):
        assign_gpu("train_hovernet")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_users_share_the_folder_and_the_files_for_any_umask(started) -> None:
    with tempfile.TemporaryDirectory() as name:  # a temporary folder of pytest is for one user only
        folder = Path(name)
        folder.chmod(0o755)
        machine = environment(folder, ONE)
        holder = started(f"import os; os.umask(0o077)\n{HOLD}", machine)
        first_line(holder)
        assert stat.S_IMODE(locks(folder).stat().st_mode) == 0o1777
        assert stat.S_IMODE((locks(folder) / FIRST).stat().st_mode) == 0o666

        holder.communicate("")

        assert first_line(started(HOLD.replace("assign_gpu(", "os.setuid(65534); assign_gpu("), machine)) == FIRST
        assert (locks(folder) / FIRST).stat().st_uid == 0


@pytest.mark.workflow
def test_snakemake_runs_two_jobs_on_two_gpus_with_the_workstation_profile(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "job.py").write_text(TAKE_TURNS)
    (tmp_path / "Snakefile").write_text(
        'rule all:\n    input: expand("{n}.txt", n=range(4))\n'
        'rule job:\n    output: touch("{n}.txt")\n    resources: gpu=1, mem_mb=1000\n    shell: "python job.py ."\n'
    )
    command = ["snakemake", "--workflow-profile", repository / "profiles" / "workstation", "--cores", "4"]

    done = subprocess.run(command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "Execute 2 jobs..." in done.stderr
    assert {path.read_text() for path in tmp_path.glob("*.job")} == {FIRST, SECOND}


def test_the_workstation_profile_is_the_default_one_with_more_gpus_and_a_memory_limit(repository: Path) -> None:
    default, workstation = (
        yaml.safe_load((repository / "profiles" / name / "config.yaml").read_text())
        for name in ("default", "workstation")
    )

    assert set(workstation["resources"]) == {*default["resources"], "mem_mb"}
    assert workstation["resources"]["gpu"] > 1
    assert {**workstation, "resources": default["resources"]} == default
