"""Work behind the caller's back: in order, bounded, and a fault comes to the front."""

import threading
import time

import pytest

from cellvit.inference.background import Background


def test_items_are_worked_on_in_order_and_all_are_done_at_the_end() -> None:
    done: list[int] = []

    with Background(done.append) as behind:
        for item in range(20):
            behind.put(item)

    assert done == list(range(20))


def test_no_more_than_a_few_items_wait() -> None:
    gate, put = threading.Event(), []

    def hand_over() -> None:
        with Background(lambda _: gate.wait(), behind=2) as behind:
            for item in range(6):
                behind.put(item)
                put.append(item)

    caller = threading.Thread(target=hand_over)
    caller.start()
    time.sleep(0.2)
    before = len(put)
    gate.set()
    caller.join()

    assert before <= 3
    assert len(put) == 6


def test_a_fault_ends_the_block_at_once_with_that_fault_and_nothing_after_it_is_worked_on() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 1:
            raise OSError("disk is gone")
        done.append(item)

    put: list[int] = []
    with pytest.raises(OSError, match="disk is gone"), Background(work) as behind:
        _hand_over(behind, put)

    assert done == [0]
    assert len(put) < 1000


def _hand_over(behind: Background[int], put: list[int]) -> None:
    for item in range(1000):
        behind.put(item)
        put.append(item)
        time.sleep(0.001)


def test_a_fault_of_the_last_item_is_not_lost() -> None:
    def fail(_: int) -> None:
        raise OSError("disk is gone")

    with pytest.raises(OSError, match="disk is gone"), Background(fail) as behind:
        behind.put(0)


def test_a_fault_of_the_caller_ends_the_block_without_working_on_what_waits() -> None:
    done: list[int] = []

    def slowly(item: int) -> None:
        time.sleep(0.05)
        done.append(item)

    with pytest.raises(ValueError, match="caller"), Background(slowly) as behind:
        _hand_over_three_and_fail(behind)

    assert done in ([0], [0, 1])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("behind")]


def _hand_over_three_and_fail(behind: Background[int]) -> None:
    for item in range(3):
        behind.put(item)
    raise ValueError("caller")
