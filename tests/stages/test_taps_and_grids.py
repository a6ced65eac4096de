"""From tiles to figures with tokens of several blocks, with finer grids and with stored views."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cellvit.__main__ import main
from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.config.steps import ExtractFeaturesSettings, GatherFamiliesSettings
from cellvit.formats.checkpoints import read_header
from cellvit.formats.documents import read_document
from cellvit.formats.evaluations import FamilyEvaluation
from cellvit.formats.features import open_family_features, open_features

FOLDS = (1, 2, 3)
SMALL = {"widths": [8, 8, 8, 8, 8], "stem_widths": [4, 6]}


class Run:
    """Three folds of two tiles, step by step."""

    def __init__(self, root: Path, write_tile_store: Callable[..., Path]) -> None:
        self.root = root
        for fold in FOLDS:
            write_tile_store(self.tiles(fold), fold, ["Colon"] * 2, simulated=True)

    def tiles(self, fold: int) -> Path:
        return self.root / f"tiles/fold{fold}.h5"

    def features(self, fold: int) -> Path:
        return self.root / f"features/fold{fold}.h5"

    def extract(self, **features: object) -> None:
        settings = ExtractFeaturesSettings(
            encoder=EncoderSettings(preset="tiny-vit", weights="random"), features=FeaturesSettings(**features)
        )
        for fold in FOLDS:
            stores = ["--tiles", self.tiles(fold), "--features", self.features(fold), "--device", "cpu"]
            assert step("extract_features", "--settings", settings.model_dump_json(), *stores) == 0
        gather = GatherFamiliesSettings(organs=("Colon",)).model_dump_json()
        arguments = ["--settings", gather, "--family", "digestive", "--folds", *FOLDS, *self._family]
        arguments += ["--fold-tiles", *map(self.tiles, FOLDS), "--fold-features", *map(self.features, FOLDS)]
        assert step("gather_family", *arguments) == 0

    def train(self, taps: Sequence[int] | None = None, **training: object) -> int:
        settings = {
            "decoder": {**SMALL, "taps": taps},
            "training": {"epochs": 1, "bpq_every": 1, "batch_size": 2, **training},
            "seed": 0,
        }
        arguments = ["--settings", json.dumps(settings), *self._split, "--train-folds", 1, "--validate-folds", 2]
        arguments += ["--history", self.root / "history.csv", "--code", "abc", "--checkpoint", self.checkpoint]
        return step("train_hovernet", *arguments, *self._family, "--device", "cpu")

    def evaluate(self) -> FamilyEvaluation:
        grid = {"method": ["hovernet"], "np_threshold": [0.5], "hv_threshold": [0.4], "min_object_px": [10]}
        settings = json.dumps({"watershed": grid, "seed": 0})
        model = ["--checkpoint", self.checkpoint, *self._family, *self._split, "--device", "cpu"]
        choice, out = self.root / "watershed.json", self.root / "evaluation.json"
        assert step("tune_watershed", "--settings", settings, *model, "--validate-folds", 2, "--out", choice) == 0
        folds = ["--train-folds", 1, "--test-folds", 3]
        files = ["--watershed", choice, "--out", out, "--tiles-csv", self.root / "tiles.csv"]
        assert step("evaluate_family", "--settings", json.dumps({"seed": 0}), *model, *folds, *files) == 0
        return read_document(out, FamilyEvaluation)

    @property
    def checkpoint(self) -> Path:
        return self.root / "hovernet.safetensors"

    @property
    def _family(self) -> list[object]:
        return ["--features", self.root / "families/features.h5", "--targets", self.root / "families/targets.h5"]

    @property
    def _split(self) -> list[str]:
        return ["--split", "1", "--family", "digestive"]


def step(name: str, *arguments: object) -> int:
    return main([name, *map(str, arguments)])


@pytest.fixture
def run(tmp_path: Path, write_tile_store: Callable[..., Path]) -> Run:
    return Run(tmp_path, write_tile_store)


@pytest.mark.parametrize(("input_px", "grid"), [(224, 16), (252, 18), (336, 24), (448, 32)])
def test_every_step_follows_the_grid_of_the_input_size(run: Run, input_px: int, grid: int) -> None:
    run.extract(input_px=input_px)

    assert run.train() == 0
    evaluation = run.evaluate()

    with open_features(run.features(1)) as store:
        assert store.shape("tokens") == (2, 1, 1, grid, grid, 96)
    assert read_header(run.checkpoint).architecture["grid"] == grid
    assert evaluation.status == "evaluated"
    assert evaluation.systems["decoder"]["np_dice"].n == 2


def test_a_decoder_of_another_grid_is_refused_with_both_sizes(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.extract(input_px=224)
    run.train()
    run.extract(input_px=252)

    with pytest.raises(AssertionError):
        run.evaluate()

    assert "input_px: decoder has 224, file has 252" in capsys.readouterr().err


def test_decoders_choose_among_the_stored_blocks_without_another_extraction(run: Run) -> None:
    run.extract(taps=(0, 2, 3))
    with open_family_features(run.root / "families/features.h5") as store:
        before = store.content_sha256, store.shape("tokens")

    for taps, expected in ((None, [0, 2, 3]), ((3,), [3]), ((3, 0), [3, 0])):
        assert run.train(taps) == 0
        header = read_header(run.checkpoint)
        assert (header.encoder["taps"], header.architecture["taps"]) == (expected, len(expected))
        assert run.evaluate().status == "evaluated"

    with open_family_features(run.root / "families/features.h5") as store:
        assert (store.content_sha256, store.shape("tokens")) == before
    assert before[1] == (6, 1, 3, 16, 16, 96)


def test_a_block_that_is_not_stored_is_refused_with_what_is_and_the_remedy(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run.extract(taps=(0, 3))

    assert run.train((1, 3)) == 1

    message = capsys.readouterr().err
    assert f"{run.root / 'families/features.h5'}: the decoder reads blocks [1, 3], the store holds [0, 3]" in message
    assert "features.taps: [0, 1, 3]" in message
    assert not run.checkpoint.exists()


def test_stored_views_train_a_decoder_and_its_evaluation_reads_the_upright_tile(run: Run) -> None:
    run.extract(views=("dihedral8",), colour_views=1)

    assert run.train(views="stored") == 0

    assert read_header(run.checkpoint).encoder["features"]["views"][:2] == ["identity", "rotate90"]
    assert run.evaluate().status == "evaluated"


def test_a_training_that_asks_for_views_refuses_features_without(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.extract()

    assert run.train(views="stored") == 1

    assert "StaleFileError" in (message := capsys.readouterr().err)
    assert "the file has only identity" in message
    assert not run.checkpoint.exists()
