"""Work beside the caller: in order, bounded, and its errors reach the caller."""

import threading
import time

import pytest

from cellvit.inference.background import Background


def test_items_are_done_in_order_and_all_at_the_end_of_the_block() -> None:
    done: list[int] = []

    with Background(done.append) as background:
        for item in range(20):
            background.put(item)

    assert done == list(range(20))


def test_few_items_wait() -> None:
    gate, put = threading.Event(), []

    def hand_over() -> None:
        with Background(lambda _: gate.wait(), waiting=2) as background:
            for item in range(6):
                background.put(item)
                put.append(item)

    caller = threading.Thread(target=hand_over)
    caller.start()
    time.sleep(0.2)
    before = len(put)
    gate.set()
    caller.join()

    assert before <= 3
    assert len(put) == 6


def test_an_error_ends_the_block_and_no_further_item_is_done() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 1:
            raise OSError("disk is gone")
        done.append(item)

    put: list[int] = []
    with pytest.raises(OSError, match="disk is gone"), Background(work) as background:
        _hand_over(background, put)

    assert done == [0]
    assert len(put) < 1000


def _hand_over(background: Background[int], put: list[int]) -> None:
    for item in range(1000):
        background.put(item)
        put.append(item)
        time.sleep(0.001)


def test_an_error_of_the_last_item_is_raised() -> None:
    def fail(_: int) -> None:
        raise OSError("disk is gone")

    with pytest.raises(OSError, match="disk is gone"), Background(fail) as background:
        background.put(0)


def test_an_error_of_the_caller_ends_the_block_without_the_waiting_items() -> None:
    done: list[int] = []

    def slowly(item: int) -> None:
        time.sleep(0.05)
        done.append(item)

    with pytest.raises(ValueError, match="caller"), Background(slowly) as background:
        _hand_over_three_and_fail(background)

    assert done in ([0], [0, 1])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("background")]


def _hand_over_three_and_fail(background: Background[int]) -> None:
    for item in range(3):
        background.put(item)
    raise ValueError("caller")
