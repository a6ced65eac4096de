import re
import subprocess
import sys

import pytest

from cellvit.config.encoders import PRESETS
from cellvit.workflow.resources import DEMANDS, PANNUKE_FOLD_TILES, memory_mb, runtime_min, weights_mb

H_OPTIMUS_0_MB = 4_529


@pytest.mark.parametrize("function", ["memory", "minutes"])
def test_rules_ask_for_every_demand_and_for_no_other(repository, function):
    text = "\n".join(path.read_text() for path in (repository / "rules").glob("*.smk"))

    assert set(re.findall(rf'={function}\("(\w+)"', text)) == set(DEMANDS)


@pytest.mark.parametrize("step", DEMANDS)
def test_every_attempt_asks_for_as_much_again_as_the_first(step):
    memory = [memory_mb(step, 1_000, attempt) for attempt in (1, 2, 3)]
    minutes = [runtime_min(step, 1_000, attempt) for attempt in (1, 2, 3)]

    for first, second, third in (memory, minutes):
        assert abs(second - 2 * first) <= 1
        assert abs(third - 3 * first) <= 2


@pytest.mark.parametrize("step", DEMANDS)
def test_more_tiles_never_ask_for_less(step):
    folds = [0, 38, PANNUKE_FOLD_TILES, 10**7]

    assert [memory_mb(step, n) for n in folds] == sorted(memory_mb(step, n) for n in folds)
    assert [runtime_min(step, n) for n in folds] == sorted(runtime_min(step, n) for n in folds)


def test_memory_of_streaming_steps_does_not_grow_with_the_tiles():
    for step in ("prepare_fold", "extract_features", "check_features", "train_hovernet"):
        assert memory_mb(step, 10**7) == memory_mb(step, 0)


def test_only_steps_that_load_the_encoder_count_its_weights():
    heavier = {step for step in DEMANDS if memory_mb(step, 38, weights_mb=H_OPTIMUS_0_MB) > memory_mb(step, 38)}

    assert heavier == {"extract_features", "check_features"}


def test_extraction_with_h_optimus_0_asks_for_what_was_counted_at_least():
    twice_weights_cuda_and_pinned = 9_000 + 3_000 + 1_300  # docs/resources.md

    assert memory_mb("extract_features", 0, weights_mb=H_OPTIMUS_0_MB) >= twice_weights_cuda_and_pinned


def test_a_slow_cluster_asks_for_more_and_a_fast_one_for_less_but_never_for_nothing():
    assert runtime_min("summarize", 0, percent=150) == 15
    assert runtime_min("summarize", 0, percent=1) == 1
    assert runtime_min("summarize", 0, attempt=2, percent=1) == 1
    assert memory_mb("summarize", 0, percent=50) == 500


def test_weights_are_those_of_the_preset():
    spec = PRESETS["h-optimus-0"]

    assert weights_mb(spec.depth, spec.dim) == H_OPTIMUS_0_MB


def test_reading_demands_loads_nothing_heavy():
    program = "import sys, cellvit.workflow.resources; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
