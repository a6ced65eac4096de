"""The graph on a real SLURM, through profiles/slurm: what was asked for, what was bound, and what faults do."""

import os
import re
import signal
from collections import Counter

import pytest
import yaml
from one_node_slurm import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

GPU_STEPS = {
    "extract_features",
    "check_features",
    "train_organ_head",
    "train_hovernet",
    "tune_watershed",
    "evaluate_family",
    "evaluate_routed",
    "build_report",
}
ON_THE_HEAD = {"gather_family", "publish_checkpoint", "summarize", "report"}
"""Steps of a second; `report` is the target itself."""

DIGESTIVE = "results/checkpoints/split1/training/hovernet_digestive.safetensors"
GLANDULAR = "results/checkpoints/split1/training/hovernet_glandular.safetensors"


@pytest.fixture(scope="module")
def finished(site):
    """A whole run in which, after its first epoch, one training is cancelled and another outlasts its time limit."""
    head = site.start(site.words(), "run.log")
    faults = {"digestive": cancel, "glandular": outlast}

    def all_struck():
        for family in [name for name in faults if "epoch=1/" in training_log(site, name)]:
            faults.pop(family)(site, family)
        return not faults

    try:
        site.wait_for("an epoch of both trainings", all_struck, head, "run.log")
        head.wait(1800)
    finally:
        if head.poll() is None:
            os.killpg(head.pid, signal.SIGKILL)
    assert head.returncode == 0, (site.home / "run.log").read_text()[-6000:]
    return site


def training_log(site, family):
    log = site.home / f"results/logs/train_hovernet/split1_{family}.log"
    return log.read_text() if log.exists() else ""


def cancel(site, family):
    site.cluster.command("scancel", str(site.trainings(family)[-1].number))


def outlast(site, family):
    """The process stands still, under the shortest limit that SLURM knows."""
    for process in site.training_processes(family):
        process.suspend()
    number = site.trainings(family)[-1].number
    site.cluster.command("scontrol", "update", f"JobId={number}", "TimeLimit=1")


def test_every_step_but_the_small_ones_went_through_sbatch(finished):
    done = Counter(re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", (finished.home / "run.log").read_text()))
    submitted = Counter(job.rule for job in finished.jobs() if job.state == "COMPLETED")

    assert done == submitted + Counter({rule: done[rule] for rule in ON_THE_HEAD})
    assert set(submitted) >= GPU_STEPS | {"simulate_pannuke", "prepare_fold", "check_targets"}
    assert (finished.home / "results/report/index.html").exists()


def test_gpu_steps_ask_for_one_gpu_in_the_partition_of_the_profile_and_others_for_none(finished):
    asked = {(job.rule, job.gpus, job.partition) for job in finished.jobs()}

    assert asked == {
        (job.rule, "gres:gpu:1", "gpu") if job.rule in GPU_STEPS else (job.rule, "", "cpu") for job in finished.jobs()
    }


def test_each_gpu_step_sees_the_one_device_that_slurm_bound_and_others_see_none(finished):
    rule_of = {str(job.number): job.rule for job in finished.jobs()}
    rows = [line.split() for line in (finished.cluster.folder / "devices.txt").read_text().splitlines()]
    seen = {(rule_of[row[0]], row[-1]) for row in rows if len(row) == 3 and row[0] in rule_of}

    assert {rule for rule, _ in seen} == set(rule_of.values())
    assert {device for rule, device in seen if rule in GPU_STEPS} == {"0", "1"}
    assert {device for rule, device in seen if rule not in GPU_STEPS} == {"none"}


def test_logs_lie_where_the_profile_says(finished):
    profile = yaml.safe_load((finished.repository / "profiles/slurm/config.yaml").read_text())
    folder = finished.home / profile["slurm-logdir"]

    assert all(folder / f"rule_{job.rule}" in job.log.parents for job in finished.jobs())
    assert all(job.log.exists() for job in finished.jobs())


def test_jobs_ask_for_the_time_and_memory_of_their_tiles(finished):
    from cellvit.workflow.resources import memory_mb, runtime_min

    asked = {(job.rule, job.memory_mb, job.minutes) for job in finished.jobs("prepare_fold")}

    assert asked == {("prepare_fold", memory_mb("prepare_fold", 19), runtime_min("prepare_fold", 19))}


def test_a_cancelled_training_is_submitted_again_with_more_memory_and_time_and_resumes(finished):
    first, second = finished.trainings("digestive")

    assert (first.state, second.state) == ("CANCELLED", "COMPLETED")
    assert second.memory_mb == 2 * first.memory_mb
    assert second.minutes > first.minutes
    assert re.search(r"resumed epoch=[1-9]", training_log(finished, "digestive"))
    assert (finished.home / DIGESTIVE).exists()


def test_a_training_over_its_time_limit_is_submitted_again_with_more_time(finished):
    usual, _ = finished.trainings("digestive")
    first, second = finished.trainings("glandular")

    assert (first.state, second.state) == ("TIMEOUT", "COMPLETED")
    assert second.minutes > usual.minutes
    assert re.search(r"resumed epoch=[1-9]", training_log(finished, "glandular"))
    assert (finished.home / GLANDULAR).exists()


def test_one_command_goes_on_after_a_killed_head(finished, killed_at_the_end):
    before = {job.number for job in finished.jobs()}
    targets = ("--", DIGESTIVE, GLANDULAR)
    head = finished.start(finished.words("--forcerun", DIGESTIVE, GLANDULAR, *targets), "killed.log")
    killed_at_the_end.append(head)
    finished.wait_for("two trainings", lambda: len(finished.training_processes()) == 2, head, "killed.log")

    alive = finished.cellvit("recover", "--", *finished.words(*targets))
    head.kill()
    head.wait()
    listed = finished.cellvit("recover", "--list")
    orphans = [job for job in finished.jobs() if job.number not in before]
    done = finished.cellvit("recover", "--", *finished.words(*targets))

    assert alive.returncode == 1
    assert f"Snakemake is alive here, process {head.pid}" in alive.stderr
    assert [job.state for job in orphans] == ["RUNNING", "RUNNING"], "neither refusing nor listing ends a job"
    assert all(f"SLURM job {job.number} (RUNNING): rule_train_hovernet" in listed.stdout for job in orphans)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert "jobs cancelled and gone: 2" in done.stdout
    assert "unlocked" in done.stdout
    ended = {job.number: job for job in finished.jobs()}
    again = [job for job in finished.jobs() if job.number > max(job.number for job in orphans)]
    assert {ended[job.number].state for job in orphans} == {"CANCELLED"}
    assert [(job.rule, job.state) for job in again] == [("train_hovernet", "COMPLETED")] * 2
    assert max(ended[job.number].ended for job in orphans) <= min(job.submitted for job in again)
    assert (finished.home / DIGESTIVE).exists()
    assert (finished.home / GLANDULAR).exists()


def test_jobs_of_others_are_left_alone(finished, tmp_path):
    cluster: Cluster = finished.cluster
    ours, other_name, other_folder = (
        cluster.command("sbatch", "--parsable", f"--job-name={name}", f"--chdir={folder}", "--wrap=sleep 60").strip()
        for name, folder in (("cellvit_1", finished.home), ("mine", finished.home), ("cellvit_1", tmp_path))
    )

    done = finished.cellvit("recover", "--", *finished.words("--dry-run", "--quiet", "all"))

    states = {
        number: re.search(r"JobState=(\w+)", cluster.command("scontrol", "show", "job", number)).group(1)
        for number in (ours, other_name, other_folder)
    }
    cluster.command("scancel", other_name, other_folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert states[ours] == "CANCELLED"
    assert {states[other_name], states[other_folder]} <= {"RUNNING", "PENDING"}
