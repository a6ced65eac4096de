"""Batches that are computed several at a time: their order, and what an error or a caller that stops does."""

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from cellvit.inference.lanes import MOST_LANES, in_lanes, shared_out


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_results_come_in_the_order_of_the_items_whatever_finishes_first(lanes: int) -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.05 if item == 0 else 0)
        return item * item

    assert list(in_lanes(slow_first, range(7), lanes)) == [(item, item * item) for item in range(7)]


def test_two_items_are_computed_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=30)  # one item alone would wait for the other, and fail

    assert len(list(in_lanes(lambda _: both.wait(), range(4), 2))) == 4


@pytest.mark.parametrize("lanes", [1, 2])
def test_an_error_is_raised_at_its_item(lanes: int) -> None:
    results = in_lanes(lambda item: 1 / (item - 2), range(9), lanes)

    assert [next(results)[0], next(results)[0]] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_caller_that_stops_leaves_most_items_alone(lanes: int) -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(1000):
            taken.append(item)
            yield item

    results = in_lanes(str, items(), lanes)
    next(results)
    results.close()

    assert len(taken) <= lanes + 1


@pytest.mark.parametrize(
    ("device", "threads", "lanes", "torch_threads"),
    [("cpu", 1, 1, 1), ("cpu", 2, 2, 1), ("cpu", 64, MOST_LANES, 1), ("cuda", 3, 1, 3)],
)
def test_a_gpu_computes_one_batch_at_a_time_and_a_cpu_each_batch_by_one_thread(
    device: str, threads: int, lanes: int, torch_threads: int
) -> None:
    before = torch.get_num_threads()

    try:
        assert (shared_out(torch.device(device), threads), torch.get_num_threads()) == (lanes, torch_threads)
    finally:
        torch.set_num_threads(before)
