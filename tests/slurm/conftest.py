"""A cluster for the tests of this folder, and runs on it through profiles/slurm."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import one_node_slurm
import psutil
import pytest

SETTINGS = """\
data: {root: null, simulated: {tiles_per_fold: 19}}
families: {urologic: null, epidermal: null, respiratory: null}
left_out_organs: [Kidney, Bladder, Testis, Ovarian, Uterus, Cervix, Skin, HeadNeck, Lung, Liver]
splits: {"2": null, "3": null}
encoder: {preset: tiny-vit, weights: random}
organ_head: {epochs: 5}
decoder: {widths: [16, 12, 8, 8, 8], stem_widths: [4, 8]}
features: {views: [identity]}
training: {steps: 150, record_every: 5, batch_size: 2, validate_every: 150, learning_rate: 1.0e-3, shared_decoder: false}
watershed: {np_threshold: [0.5], hv_threshold: [0.5], min_object_px: [10], min_gain_px: [5.0], min_fit: [0.5]}
device: cpu
"""
"""Small enough for minutes on two cores; training takes the seconds in which a test cancels it."""

ONE_THREAD = [
    f"{step}=1"
    for step in (
        "extract_features",
        "check_features",
        "train_organ_head",
        "check_targets",
        "train_hovernet",
        "tune_watershed",
        "evaluate_family",
        "evaluate_organ_head",
        "evaluate_routed",
        "calibrate",
    )
]


@dataclass(frozen=True)
class Job:
    """A job as SLURM remembers it."""

    number: int
    state: str
    rule: str
    memory_mb: int
    minutes: int
    gpus: str
    partition: str
    log: Path
    submitted: str
    ended: str


@dataclass(frozen=True)
class Site:
    """A cluster, and a folder on it in which the graph runs."""

    cluster: one_node_slurm.Cluster
    repository: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.repository)}
        return {**os.environ, **self.cluster.environment, **own}

    def words(self, *arguments: str) -> list[str]:
        """The call of Snakemake: the profile as it is, one thread a step."""
        return [
            "snakemake",
            *("--snakefile", str(self.repository / "Snakefile")),
            *("--workflow-profile", str(self.repository / "profiles/slurm")),
            *("--configfile", "small.yaml"),
            *("--set-threads", *ONE_THREAD),
            *arguments,
        ]

    def start(self, words: list[str], log: str) -> subprocess.Popen[bytes]:
        """Start a program in the folder, in a session of its own; it writes `log`."""
        with (self.home / log).open("wb") as out:
            return subprocess.Popen(
                words, cwd=self.home, env=self.environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script of bash in the folder."""
        return subprocess.run(
            ["bash", "-euc", script], cwd=self.home, env=self.environment, capture_output=True, text=True, check=False
        )

    def jobs(self, rule: str = "") -> list[Job]:
        """Jobs of this folder (of a rule), in the order of their numbers."""
        lines = self.cluster.command("scontrol", "--oneliner", "show", "jobs").splitlines()
        rows = [dict(re.findall(r"(\w+)=(\S+)", line)) for line in lines if "Comment=rule_" in line]
        jobs = [_job(row) for row in rows if Path(row["WorkDir"]) == self.home]
        return sorted((job for job in jobs if rule in ("", job.rule)), key=lambda job: job.number)

    def trainings(self, family: str) -> list[Job]:
        """Jobs that train the decoder of a family."""
        return [job for job in self.jobs("train_hovernet") if job.log.parent.name.endswith(f"_{family}")]

    def training_processes(self, family: str = "") -> list[psutil.Process]:
        """Processes that train a decoder (of a family) in this folder; those of other folders are never touched."""
        found = []
        for process in psutil.process_iter(["cmdline", "cwd"]):
            words, folder = process.info["cmdline"] or [], process.info["cwd"]
            trains = words[1:4] == ["-m", "cellvit", "train_hovernet"] and folder == str(self.home)
            if trains and (not family or family in words):
                found.append(process)
        return found

    def wait_for(self, what: str, reached: Callable[[], object], head: subprocess.Popen[bytes], log: str) -> None:
        """Look again until something is so; a head that ends before, or ten minutes, fail the test with its log."""
        for _ in range(1200):
            if reached():
                return
            if head.poll() is not None:
                break
            time.sleep(0.5)
        pytest.fail(f"{what} did not come about. The end of {log}:\n{(self.home / log).read_text()[-3000:]}")


def _job(row: dict[str, str]) -> Job:
    hours, minutes, _ = (int(part) for part in row["TimeLimit"].split(":"))
    memory, unit = re.fullmatch(r"([\d.]+)([MG])", row["MinMemoryNode"]).groups()
    return Job(
        number=int(row["JobId"]),
        state=row["JobState"],
        rule=re.sub(r"^rule_|_wildcards_.*", "", row["Comment"]),
        memory_mb=round(float(memory) * {"M": 1, "G": 1024}[unit]),
        minutes=60 * hours + minutes,
        gpus=row.get("TresPerJob", ""),
        partition=row["Partition"],
        log=Path(row["StdOut"]),
        submitted=row["SubmitTime"],
        ended=row["EndTime"],
    )


@pytest.fixture(scope="session")
def cluster() -> Iterator[one_node_slurm.Cluster]:
    """A cluster of two pretend GPUs, or the reason why there is none."""
    absent = one_node_slurm.missing()
    reason = one_node_slurm.obstacle() or (absent and f"{absent[0]} is not installed: make test-slurm does that")
    if reason:
        pytest.skip(f"no SLURM for tests: {reason}")
    cluster = one_node_slurm.start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def site(cluster: one_node_slurm.Cluster, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A folder with settings, before any run."""
    home = tmp_path_factory.mktemp("site")
    (home / "small.yaml").write_text(SETTINGS)
    return Site(cluster, repository, home)


@pytest.fixture
def killed_at_the_end() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Heads that a test started; those that still run are killed. What they submitted ends with the cluster."""
    programs: list[subprocess.Popen[bytes]] = []
    yield programs
    for program in programs:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait(60)
