import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cellvit.errors import CellvitError
from cellvit.inference.parallel import WORTH_A_POOL, workers


@pytest.mark.parametrize(("threads", "items"), [(1, 1000), (8, WORTH_A_POOL - 1)], ids=["one_thread", "few_items"])
def test_little_work_is_done_in_this_process(threads: int, items: int) -> None:
    with workers(threads, items) as pool:
        assert list(pool.map(_process, range(3))) == [os.getpid()] * 3


def _process(_: int) -> int:
    return os.getpid()


def test_processes_keep_the_order_and_take_items_only_as_results_are_read() -> None:
    taken = []

    def items():
        for number in range(200):
            taken.append(number)
            yield number

    with workers(2, 200) as pool:
        results = pool.map(math.sqrt, items())
        first = next(results)
        ahead = len(taken)
        rest = list(results)

    assert ahead < 20
    assert [first, *rest] == [math.sqrt(number) for number in range(200)]


def test_an_error_in_a_worker_is_the_error_of_the_step() -> None:
    with workers(2, 1000) as pool, pytest.raises(ValueError, match=r"math domain|nonnegative"):
        list(pool.map(math.sqrt, [1, -1]))


def test_a_worker_that_ends_names_the_fix() -> None:
    with workers(2, 1000) as pool, pytest.raises(CellvitError, match="--threads 1"):
        list(pool.map(os._exit, [1]))


def test_workers_load_no_torch() -> None:
    program = "import sys, cellvit.evaluation.scoring; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_workers_end_with_a_parent_that_is_killed() -> None:
    program = """
import math, multiprocessing, time
from cellvit.inference.parallel import workers
with workers(2, 1000) as pool:
    list(pool.map(math.sqrt, range(1000)))
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()

    assert len(pids) == 2
    assert gone(pids), pids


def gone(pids: list[int]) -> bool:
    """Whether all of these processes end within a minute."""
    deadline = time.monotonic() + 60
    while left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        if time.monotonic() > deadline:
            return False
        pids = left
        time.sleep(0.1)
    return True
