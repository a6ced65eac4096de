"""Plan of a training: which tiles each of its steps reads, and into which rounds the steps are divided."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from cellvit.data.batches import shuffled_rows
from cellvit.training.seeding import Stream, rng_of


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps of a training; every epoch shows each tile once, in an order of its own.

    The tiles of a step follow from the seed and the number of the step alone.

    Attributes:
        rows: Training tiles, at least one.
        n_steps: Number of steps, which are numbered from 0; the last epoch may be shorter than the others.
        per_round: Steps of a round, after which values are recorded; the last round may be shorter.
        stop_after: Steps that are taken of all that the learning rate is planned for; None takes all.
        starts_trained: The weights are trained ones, which are measured before the first step, in an empty round.
    """

    rows: Int[np.ndarray, " r"]
    batch_size: int
    seed: int
    n_steps: int
    per_round: int
    stop_after: int | None = None
    starts_trained: bool = False

    @property
    def end(self) -> int:
        """Number of steps that are taken."""
        return self.n_steps if self.stop_after is None else min(self.stop_after, self.n_steps)

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.rows) // self.batch_size)

    @property
    def tiles_per_step(self) -> float:
        """Mean number of tiles of a step."""
        return len(self.rows) / self.per_epoch

    def batches(self, first: int) -> Iterator[tuple[int, Int[np.ndarray, " b"]]]:
        """Number and tiles of each step from `first` to the last."""
        for epoch in range(first // self.per_epoch, -(-self.end // self.per_epoch)):
            order = shuffled_rows(self.rows, self.batch_size, rng_of(self.seed, Stream.ORDER, epoch))
            for step, rows in enumerate(order, epoch * self.per_epoch):
                if first <= step < self.end:
                    yield step, rows

    def rounds(self, first: int) -> Iterator[range]:
        """Numbers of the steps of each round, of which the first starts at step `first`.

        The round before step 0 is empty: there is one for trained weights, and where no step is taken.

        Examples:
            >>> list(Plan(np.arange(9), 2, seed=0, n_steps=250, per_round=100).rounds(100))
            [range(100, 200), range(200, 250)]
        """
        if first == 0 and (self.starts_trained or self.end == 0):
            yield range(0)
        for start in range(first, self.end, self.per_round):
            yield range(start, min(start + self.per_round, self.end))
