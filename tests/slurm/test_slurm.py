"""The graph on a real SLURM, through profiles/slurm: what was asked for, what was bound, and what faults do."""

import os
import re
import shlex
import signal
from collections import Counter

import pytest
import yaml

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

GPU_STEPS = {
    "extract_features",
    "check_features",
    "train_organ_head",
    "train_hovernet",
    "evaluate_family",
    "evaluate_organ_head",
    "evaluate_routed",
    "calibrate",
}
ON_THE_HEAD = {"gather_families", "summarize", "report"}
"""Steps of a second; `report` is the target itself."""

DIGESTIVE = "results/checkpoints/split1/hovernet_digestive.safetensors"
GLANDULAR = "results/checkpoints/split1/hovernet_glandular.safetensors"


@pytest.fixture(scope="module")
def finished(site):
    """A whole run in which, in its second round, one training is cancelled and another outlasts its time limit."""
    head = site.start(site.words(), "run.log")
    faults = {"digestive": cancel, "glandular": outlast}

    def all_struck():
        for family in [name for name in faults if "step=10/" in training_log(site, name)]:
            faults.pop(family)(site, family)
        return not faults

    try:
        site.wait_for("a round of both trainings, stored", all_struck, head, "run.log")
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
    first = min((finished.home / ".snakemake/log").iterdir())  # of Snakemake itself; its name begins with the time
    done = Counter(re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", first.read_text()))
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
    assert re.search(r"resumed after step=[1-9]", training_log(finished, "digestive"))
    assert (finished.home / DIGESTIVE).exists()


def test_a_training_over_its_time_limit_is_submitted_again_with_more_time(finished):
    usual, _ = finished.trainings("digestive")
    first, second = finished.trainings("glandular")

    assert (first.state, second.state) == ("TIMEOUT", "COMPLETED")
    assert second.minutes > usual.minutes
    assert re.search(r"resumed after step=[1-9]", training_log(finished, "glandular"))
    assert (finished.home / GLANDULAR).exists()


def test_the_documented_commands_continue_a_run_after_its_head_was_killed(finished, killed_at_the_end):
    before = {job.number for job in finished.jobs()}
    words = finished.words("--config", "cache={enabled: false}")  # otherwise earlier results would end both in a second
    head = finished.start([*words, "--forcerun", DIGESTIVE, GLANDULAR, "--", DIGESTIVE, GLANDULAR], "killed.log")
    killed_at_the_end.append(head)
    finished.wait_for("two trainings", lambda: len(finished.training_processes()) == 2, head, "killed.log")
    head.kill()
    head.wait()
    orphans = [job.number for job in finished.jobs() if job.number not in before]
    foreign = finished.cluster.command("sbatch", "--parsable", "--chdir=/", "--wrap=sleep 60").strip()

    done = finished.shell(documented(finished.repository, with_targets(words, DIGESTIVE, GLANDULAR)))

    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    jobs = {job.number: job for job in finished.jobs()}
    again = [job for job in jobs.values() if job.number > max(orphans) and job.rule == "train_hovernet"]
    assert {jobs[number].state for number in orphans} == {"CANCELLED"}
    assert {job.state for job in again} == {"COMPLETED"}
    assert (finished.home / DIGESTIVE).exists()
    assert (finished.home / GLANDULAR).exists()
    foreign_state = re.search(r"JobState=(\w+)", finished.cluster.command("scontrol", "show", "job", foreign)).group(1)
    finished.cluster.command("scancel", foreign)
    assert foreign_state in {"RUNNING", "PENDING", "COMPLETED"}, "jobs of other folders are left alone"


def with_targets(words, *targets):
    """A call of Snakemake with its targets first, so that options can follow."""
    return [words[0], *targets, *words[1:]]


def documented(repository, words):
    """The commands of docs/running.md for a killed head on SLURM, with this run's own call of Snakemake."""
    text = (repository / "docs/running.md").read_text()
    block = re.search(r"```bash\n(# SLURM: after the head was killed\n.*?)```", text, re.DOTALL).group(1)
    return block.replace("snakemake --workflow-profile profiles/slurm", shlex.join(words))
