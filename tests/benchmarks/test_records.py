"""The tables of a run beside published results."""

import math
import runpy
from typing import Any

import numpy as np
import pytest

from cellvit.formats.tile_table import TileScores


@pytest.fixture(scope="module")
def program(repository) -> dict[str, Any]:
    return runpy.run_path(str(repository / "benchmarks" / "records.py"))


def test_the_page_shows_the_tables_of_the_program(program, repository, capsys):
    program["print_tables"]({}, {})

    assert capsys.readouterr().out.strip() in (repository / "docs" / "pannuke.md").read_text()


def test_values_are_means_over_splits_with_their_range(program, capsys):
    values = {("organ_given", "mpq"): [0.4, 0.5], ("organ_given", "bpq"): [0.6], ("organ_given", "pq_dead"): [math.nan]}
    scores = {str(split): _of_two_livers(split / 10) for split in (1, 3)}

    program["print_tables"](values, scores)

    lines = capsys.readouterr().out.splitlines()
    assert "| **this pipeline** | .450 (.400 to .500) | .600 |" in lines
    assert "| dead | .149 |  |" in lines
    assert "| Liver | .200 (.100 to .300) | .700 (.700 to .700) |" in lines
    assert "| Lung |  |  |" in lines


def _of_two_livers(mpq: float) -> TileScores:
    """Scores of two tiles of Liver, of which one has no mPQ."""
    texts = {name: ["a", "b"] for name in ("tile_id", "patient", "source", "origin", "family")}
    return TileScores.of({**texts, "organ": ["Liver"] * 2}, ("mpq", "bpq"), np.array([[mpq, 0.7], [np.nan, 0.7]]))
