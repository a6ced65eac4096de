"""From the sources of a fold to the values by source of an evaluation."""

import numpy as np
import pytest

from cellvit.evaluation.scoring import COLUMNS
from cellvit.formats.tile_table import read_tile_scores
from cellvit.metrics.intervals import interval_of_mean

FAMILIES = {"digestive": ("Colon",), "all": ("Colon",)}
ORGANS = {1: ["Colon"] * 3, 2: ["Colon"] * 3, 3: ["Colon"] * 9}
PATIENTS = {3: [*"abcdefgh", "h"]}
SOURCES = {1: ["Lyon"] * 3, 3: ["Lyon"] * 3 + ["Bern"] * 5 + [""]}


@pytest.fixture(scope="module")
def evaluated(write_run):
    """Evaluate two decoders beside each other on folds with the given sources."""

    def run_all(sources):
        run = write_run(ORGANS, FAMILIES, PATIENTS, sources)
        run.write_decoder("digestive", sources=("Lyon",))
        run.write_decoder("all", seed=1, sources=("Bern", "Lyon"))
        for family in FAMILIES:
            run.tune(family)
        return run, run.evaluate("digestive", shared=True)

    return run_all


def test_values_are_by_source_with_what_each_decoder_has_seen(evaluated) -> None:
    run, evaluation = evaluated(SOURCES)
    table = read_tile_scores(run.evaluated("digestive_tiles.csv"), COLUMNS)["decoder"]
    own, shared = evaluation.sources["decoder"], evaluation.sources["shared"]

    assert table.text("source") == tuple(SOURCES[3])
    assert list(evaluation.sources) == ["decoder", "shared"]
    assert own.n_tiles == {"Bern": 5, "Lyon": 3}
    assert own.trained_on == {"Bern": "unseen", "Lyon": "seen"}
    assert shared.trained_on == {"Bern": "seen", "Lyon": "seen"}
    expected = interval_of_mean(table.column("aji")[3:8], groups=np.array([0, 1, 2, 3, 4]))
    found = own.values["Bern"]["aji"]
    assert (found.value, found.n, found.units) == (expected.value, 5, 5)
    assert own.gaps["aji"].value == own.values["Lyon"]["aji"].value - found.value
    assert not shared.gaps


def test_without_sources_there_is_no_value_by_source(evaluated) -> None:
    _, evaluation = evaluated({})

    assert evaluation.sources == {}
