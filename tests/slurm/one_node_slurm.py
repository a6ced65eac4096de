"""A SLURM of one node with pretend GPUs, from Debian's packages: `python one_node_slurm.py install | start | stop`.

Everything of it lies in one folder: configuration, a munge key and socket of its own, state, logs, pretend devices.
Ports are free ones, and nothing is written to /etc/slurm, so that commands without `environment` never see it.
"""

import argparse
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACKAGES: Final = ("slurmctld", "slurmd", "slurm-client", "munge")
PROGRAMS: Final = ("slurmctld", "slurmd", "sbatch", "munged")
DAEMONS: Final = ("slurmd", "slurmctld", "munged")
"""In the order in which they are stopped."""

FOLDER: Final = Path(tempfile.gettempdir(), "cellvit-slurm")
"""Short: a socket's path has at most 107 characters."""

CONFIGURATION: Final = """\
ClusterName=cellvit
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog={folder}/task_prolog
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=5,batch_sched_delay=0,bf_interval=5
SlurmdParameters=config_overrides
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobRequeue=0
KillWait=5
MinJobAge=86400
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} Gres=gpu:pretend:{gpus} State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=1-00:00:00 State=UP
PartitionName=gpu Nodes={host} Default=NO MaxTime=1-00:00:00 State=UP
"""
"""No cgroup is touched: linuxproc follows processes, and memory is counted but not enforced."""

PROLOG: Final = """\
#!/bin/sh
# What each step of a job is given; a test reads it.
echo "$SLURM_JOB_ID $SLURM_STEP_ID ${{CUDA_VISIBLE_DEVICES:-none}}" >> {folder}/devices.txt
"""

SRUN: Final = """\
#!/bin/sh
# The executor plugin starts srun in a job without SLURM_CONF (it drops every SLURM_* that it does not know).
SLURM_CONF={folder}/slurm.conf exec {srun} "$@"
"""


def obstacle() -> str | None:
    """Why no cluster can be brought up here; None where one can."""
    if os.getuid() != 0:
        return "needs root: slurmd starts jobs as their users"
    if not Path("/etc/debian_version").exists():
        return "needs Debian, whose packages it uses"
    if Path("/etc/slurm/slurm.conf").exists():
        return "a SLURM is configured here (/etc/slurm/slurm.conf), which is left alone"
    others = [pid for name in ("slurmctld", "slurmd") for pid in _running(name) if pid != _pid(FOLDER, name)]
    if others:
        return f"a SLURM runs here that is not ours (process {others[0]}), which is left alone"
    return None


def missing() -> list[str]:
    """Programs that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]


def install() -> None:
    """Install Debian's packages where they are missing, without starting a service; apt says where it cannot."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
        if missing():
            subprocess.run(["apt-get", "--quiet", "--quiet", *command], env=environment, check=False)


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs, and how to reach it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which SLURM's commands talk to this cluster."""
        return {"SLURM_CONF": f"{self.folder}/slurm.conf", "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}

    def command(self, *words: str) -> str:
        """What one of SLURM's commands prints."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout

    def stop(self) -> None:
        """Cancel what runs and end the daemons that `start` started, by their pids."""
        if _pid(self.folder, "slurmctld") is not None:
            self.command("scancel", "--user=root")
            _wait("the end of all jobs", lambda: not self.command("squeue", "--noheader"), seconds=30)
        for name in DAEMONS:
            pid = _pid(self.folder, name)
            if pid is not None:
                os.kill(pid, 15)
                _wait(f"the end of {name}", lambda name=name: _pid(self.folder, name) is None, seconds=20)


def start(folder: Path = FOLDER, *, gpus: int = 2, cpus: int = 2, memory_mb: int = 64_000) -> Cluster:
    """A cluster with nothing in its queue; one that is left from an earlier call is stopped first."""
    cluster = Cluster(folder)
    cluster.stop()
    shutil.rmtree(folder, ignore_errors=True)
    for name, mode in {"munge": 0o711, "state": 0o700, "spool": 0o755, "bin": 0o755, "dev": 0o755}.items():
        (folder / name).mkdir(parents=True)
        (folder / name).chmod(mode)
    folder.chmod(0o755)
    _write_programs(folder)
    _write_configuration(folder, gpus=gpus, cpus=cpus, memory_mb=memory_mb)
    _start_daemons(cluster)
    return cluster


def _write_configuration(folder: Path, *, gpus: int, cpus: int, memory_mb: int) -> None:
    host, (controller_port, node_port) = socket.gethostname().split(".")[0], _free_ports(2)
    for number in range(gpus):
        _pretend_device(folder / "dev" / f"gpu{number}")
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu Type=pretend File={folder}/dev/gpu[0-{gpus - 1}]\n")
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            host=host,
            folder=folder,
            controller_port=controller_port,
            node_port=node_port,
            cpus=cpus,
            memory_mb=memory_mb,
            gpus=gpus,
        )
    )


def _write_programs(folder: Path) -> None:
    for path, text in ((folder / "task_prolog", PROLOG), (folder / "bin" / "srun", SRUN)):
        path.write_text(text.format(folder=folder, srun=shutil.which("srun")))
        path.chmod(0o755)


def _pretend_device(path: Path) -> None:
    """A twin of /dev/null, or a plain file where no device can be made: SLURM wants a name of its own for each GPU."""
    try:
        os.mknod(path, 0o20666, os.makedev(1, 3))
    except OSError:
        path.touch()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _start_daemons(cluster: Cluster) -> None:
    folder, munge = cluster.folder, cluster.folder / "munge"
    key = munge / "key"
    key.touch(0o600)
    key.write_bytes(os.urandom(128))
    files = {name: f"--{name}-file={munge}/{name}" for name in ("key", "log", "seed")}
    _call("munged", *files.values(), f"--pid-file={folder}/munged.pid", f"--socket={munge}/socket")
    _call("slurmctld", "-f", f"{folder}/slurm.conf")
    _wait("slurmctld", lambda: "is UP" in cluster.command("scontrol", "ping"), seconds=30)
    _call("slurmd", "-f", f"{folder}/slurm.conf", "-N", socket.gethostname().split(".")[0])
    _wait("slurmd", lambda: "idle" in cluster.command("sinfo", "--noheader", "--format=%T"), seconds=30)


def _call(program: str, *arguments: str) -> None:
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    subprocess.run([str(path), *arguments], check=True, stdout=subprocess.DEVNULL, timeout=60)


def _wait(what: str, reached: Callable[[], bool], *, seconds: int) -> None:
    for _ in range(seconds * 10):
        with suppress(subprocess.CalledProcessError):
            if reached():
                return
        time.sleep(0.1)
    raise TimeoutError(f"waited {seconds} s for {what}; logs are in {FOLDER}")


def _running(name: str) -> list[int]:
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/comm") if _comm(path) == name]


def _pid(folder: Path, name: str) -> int | None:
    """Process of a daemon that we started; None where it is gone, or where its number is another's by now."""
    with suppress(OSError, ValueError):
        pid = int((folder / f"{name}.pid").read_text())
        return pid if _comm(Path(f"/proc/{pid}/comm")) == name else None
    return None


def _comm(path: Path) -> str:
    """Name of a process that runs; none for one that ended and was not waited for."""
    try:
        ended = path.with_name("stat").read_text().rpartition(")")[2].split()[0] in "ZX"
        return "" if ended else path.read_text().strip()
    except OSError:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("verb", choices=("install", "start", "stop"))
    verb = parser.parse_args().verb
    reason = obstacle()
    if reason:
        sys.stderr.write(f"no SLURM for tests: {reason}\n")
        sys.exit(verb != "install")  # the tests skip with the same reason
    if verb == "install":
        install()
    elif verb == "start":
        for name, value in start().environment.items():
            sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
    else:
        Cluster(FOLDER).stop()


if __name__ == "__main__":
    main()
