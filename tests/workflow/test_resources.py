import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from cellvit.config.encoders import PRESETS
from cellvit.config.settings import load_settings
from cellvit.taxonomy import ORGANS
from cellvit.workflow.graph import Graph
from cellvit.workflow.resources import DEMANDS, PANNUKE_FOLD_TILES, memory_mb, runtime_min, weights_mb

H_OPTIMUS_0_MB = 4_529


@pytest.mark.parametrize("function", ["memory", "minutes"])
def test_rules_request_every_demand_and_no_other(repository, function):
    text = "\n".join(path.read_text() for path in (repository / "rules").glob("*.smk"))

    assert set(re.findall(rf'={function}\("(\w+)"', text)) == set(DEMANDS)


@pytest.mark.parametrize("step", DEMANDS)
@pytest.mark.parametrize("request_for", [memory_mb, runtime_min])
def test_every_attempt_adds_the_first_request_and_more_tiles_never_request_less(step, request_for):
    first, second, third = (request_for(step, 1_000, attempt) for attempt in (1, 2, 3))
    by_tiles = [request_for(step, n) for n in (0, 38, PANNUKE_FOLD_TILES, 10**7)]

    assert abs(second - 2 * first) <= 1
    assert abs(third - 3 * first) <= 2
    assert by_tiles == sorted(by_tiles)


def test_the_time_of_a_training_follows_the_steps_of_its_family():
    own = {"organs": ["Skin"], "training": {"steps": 20_000}}
    others = [organ for organ in ORGANS if organ not in {"Colon", "Skin"}]
    families = {"families": {"digestive": ["Colon"], "epidermal": own}, "left_out_organs": others}
    graph = Graph(load_settings({**families, "training": {"steps": 2000}}))
    minutes = graph.minutes("train_hovernet", tiles=graph.tiles_trained)

    short, long = (minutes(SimpleNamespace(family=family, split="1"), 1) for family in ("digestive", "epidermal"))

    assert long > 2 * short


def test_the_memory_of_streaming_steps_does_not_grow_with_the_tiles():
    for step in ("prepare_fold", "extract_features", "check_features", "train_hovernet"):
        assert memory_mb(step, 10**7) == memory_mb(step, 0)


def test_only_steps_that_load_the_encoder_add_its_weights():
    heavier = {step for step in DEMANDS if memory_mb(step, 38, weights_mb=H_OPTIMUS_0_MB) > memory_mb(step, 38)}

    assert heavier == {"extract_features", "check_features", "predict_image"}


def test_extraction_with_h_optimus_0_requests_at_least_the_calculated_memory():
    twice_weights_cuda_and_pinned = 9_000 + 3_000 + 1_300  # docs/resources.md

    assert memory_mb("extract_features", 0, weights_mb=H_OPTIMUS_0_MB) >= twice_weights_cuda_and_pinned


def test_a_percentage_scales_a_request_and_leaves_at_least_one_unit():
    assert runtime_min("summarize", 0, percent=150) == 15
    assert runtime_min("summarize", 0, percent=1) == runtime_min("summarize", 0, attempt=2, percent=1) == 1
    assert memory_mb("summarize", 0, percent=50) == 500


def test_the_size_of_the_weights_is_that_of_the_preset():
    spec = PRESETS["h-optimus-0"]

    assert weights_mb(spec.depth, spec.dim) == H_OPTIMUS_0_MB


def test_importing_demands_loads_nothing_heavy():
    program = "import sys, cellvit.workflow.resources; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
