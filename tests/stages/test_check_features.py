"""check_features: passes what the encoder gives, and stops at everything else with its cause."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from cellvit.__main__ import main
from cellvit.config.encoders import UNTRAINED_BAND, EncoderSettings, FeaturesSettings
from cellvit.config.steps import ExtractFeaturesSettings
from cellvit.formats.documents import read_document
from cellvit.formats.features import FEATURES, FeatureBatch, FeatureCheck, append_features, open_features, read_features
from cellvit.formats.hdf5 import writing
from cellvit.formats.provenance import Provenance
from cellvit.models.weights import load_vit

Edit = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def settings(seed: int = 0, **kept: object) -> str:
    encoder = EncoderSettings(preset="tiny-vit", weights="random", seed=seed)
    return ExtractFeaturesSettings(encoder=encoder, features=FeaturesSettings(**kept)).model_dump_json()


def step(name: str, *arguments: object) -> int:
    return main([name, *map(str, arguments)])


def rewrite(path: Path, edit: Edit) -> None:
    """Replace the features of a store and keep what it says of its origin."""
    with open_features(path) as store:
        n, views, taps, g, _, dim = store.shape("tokens")
        batch, origin = read_features(store, np.arange(n)), store.provenance
    cls, tokens = edit(batch.cls.copy(), batch.tokens.copy())
    sizes = {"views": views, "taps": taps, "g": g, "dim": dim}
    with writing(path, FEATURES, len(cls), sizes, origin) as writer:
        append_features(writer, FeatureBatch(cls, tokens))


class Fold:
    """Tiles, features and proof of one fold."""

    def __init__(self, root: Path, write_tile_store: Callable[..., Path], n: int = 4) -> None:
        self.tiles, self.features, self.out = root / "tiles.h5", root / "features" / "fold1.h5", root / "check.json"
        write_tile_store(self.tiles, 1, ["Colon"] * n, simulated=True)

    def extract(self, json: str | None = None) -> int:
        return step("extract_features", "--settings", json or settings(), *self._stores())

    def check(self, json: str | None = None) -> int:
        return step("check_features", "--settings", json or settings(), *self._stores(), "--out", self.out)

    def _stores(self) -> tuple[object, ...]:
        return "--tiles", self.tiles, "--features", self.features, "--device", "cpu"


@pytest.fixture
def fold(tmp_path: Path, write_tile_store: Callable[..., Path]) -> Fold:
    made = Fold(tmp_path, write_tile_store)
    made.extract()
    return made


def test_features_of_the_encoder_pass_and_the_proof_says_what_was_found(fold: Fold) -> None:
    assert fold.check() == 0

    proof = read_document(fold.out, FeatureCheck)
    assert (proof.fold_id, proof.n_tiles) == ("fold1", 4)
    assert UNTRAINED_BAND[0] < proof.cls_std < UNTRAINED_BAND[1]
    assert {check.name for check in proof.checks} >= {"finite values", "standard deviation of CLS", "size of tiles"}
    assert set(proof.provenance.made_from) == {"tiles", "features"}
    assert proof.provenance.marks == ("simulated data", "untrained encoder")


@pytest.mark.parametrize("n", [0, 1])
def test_a_fold_of_no_or_one_tile_passes(tmp_path: Path, write_tile_store: Callable[..., Path], n: int) -> None:
    fold = Fold(tmp_path, write_tile_store, n)
    fold.extract(settings(taps=(0, 3)))

    assert fold.check(settings(taps=(0, 3))) == 0

    proof = read_document(fold.out, FeatureCheck)
    assert (proof.n_tiles, np.isnan(proof.cls_std)) == (n, n == 0)


def other_seed(cls: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=cls.shape).astype(np.float32), rng.normal(size=tokens.shape).astype(np.float16)


def before_the_norm(cls: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return cls * np.float32(0.28), tokens * np.float16(0.28)


def float_image(cls: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return cls * np.float32(2), tokens


def registers_as_patches(cls: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return cls, np.roll(tokens.reshape(len(cls), 256, 96), 4, axis=1).reshape(tokens.shape)


def transposed(cls: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return cls, tokens.swapaxes(3, 4)


def one_nan_between(cls: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    tokens[2, 0, 0, 5, 5, 5] = np.nan
    return cls, tokens


def unwritten_row(cls: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    tokens[1] = 0
    return cls, tokens


def reversed_tiles(cls: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return cls[::-1], tokens[::-1]


def lost_tile(cls: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return cls[:-1], tokens[:-1]


@pytest.mark.parametrize(
    ("edit", "cause"),
    [
        (other_seed, "other weights, another seed"),
        (before_the_norm, "before the final LayerNorm"),
        (float_image, "colours overflowed"),
        (registers_as_patches, "registers counted as patches"),
        (transposed, "transposed"),
        (one_nan_between, "finite values: expected all rows, found 1 rows break it, first 2"),
        (unwritten_row, "rows were never written"),
        (reversed_tiles, "recomputed"),
        (lost_tile, "tiles were lost or added"),
    ],
)
def test_wrong_features_stop_the_run_with_their_cause(
    fold: Fold, edit: Edit, cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(fold.features, edit)

    assert fold.check() == 1

    message = capsys.readouterr().err
    assert "IntegrityError" in message
    assert cause in message
    assert "snakemake --forcerun extract_features" in message
    assert not fold.out.exists()


def test_features_of_another_seed_are_told_by_recomputing_even_where_the_settings_were_forged(
    fold: Fold, capsys: pytest.CaptureFixture[str]
) -> None:
    fold.extract(settings(seed=1))
    with open_features(fold.features) as store:
        batch, forged = read_features(store, np.arange(4)), store.provenance.model_dump()
    forged["settings"]["encoder"]["seed"] = 0
    with writing(
        fold.features, FEATURES, 4, {"views": 1, "taps": 1, "g": 16, "dim": 96}, Provenance(**forged)
    ) as writer:
        append_features(writer, batch)

    assert fold.check() == 1

    assert "other weights, another seed" in capsys.readouterr().err


def test_stale_settings_are_named_with_both_values(fold: Fold, capsys: pytest.CaptureFixture[str]) -> None:
    assert fold.check(settings(input_px=252, taps=(1,))) == 1

    message = capsys.readouterr().err
    assert "StaleFileError" in message
    assert "features.input_px: file has 224, run asks for 252" in message
    assert "features.taps: file has None, run asks for [1]" in message
    assert "features.precision" not in message
    assert f"snakemake --forcerun extract_features -- {fold.features}" in message


def test_features_of_other_tiles_are_stale(
    fold: Fold, write_tile_store: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_tile_store(fold.tiles, 2, ["Colon"] * 4)

    assert fold.check() == 1

    assert f"other tiles than {fold.tiles} holds" in capsys.readouterr().err


def test_weights_that_changed_since_the_extraction_are_stale(
    fold: Fold, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def save(seed: int) -> None:
        drawn = EncoderSettings(preset="tiny-vit", weights="random", seed=seed)
        save_file(load_vit(drawn).vit.state_dict(), tmp_path / "model.safetensors")

    local = EncoderSettings(preset="tiny-vit", weights=str(tmp_path / "model.safetensors"))
    json = ExtractFeaturesSettings(encoder=local, features=FeaturesSettings()).model_dump_json()
    save(0)
    fold.extract(json)
    save(1)

    assert fold.check(json) == 1

    assert "other weights than" in capsys.readouterr().err


VIEWS = {"views": ["dihedral8"], "colour_views": 1}


def test_every_view_is_recomputed_and_stands_in_the_proof(fold: Fold) -> None:
    fold.extract(settings(**VIEWS))

    assert fold.check(settings(**VIEWS)) == 0

    names = [check.name for check in read_document(fold.out, FeatureCheck).checks]
    for view in ("identity", "rotate90", "flip_rotate270", "colour 1"):
        assert f"tokens as recomputed (rows 0, 3, view {view})" in names
    assert len(names) == len(set(names))


def two_views_swapped(cls: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = [0, 2, 1, *range(3, 9)]
    return cls, tokens[:, order]


def turned_instead_of_extracted(cls: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    tokens[:, 4] = tokens[:, 0, :, :, ::-1]
    return cls, tokens


def colours_of_another_draw(cls: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    tokens[:, 8], cls[:, 8] = tokens[:, 0], cls[:, 0]
    return cls, tokens


@pytest.mark.parametrize(
    ("edit", "view"),
    [(two_views_swapped, "rotate90"), (turned_instead_of_extracted, "flip"), (colours_of_another_draw, "colour 1")],
)
def test_a_view_that_the_encoder_did_not_see_stops_the_run_and_is_named(
    fold: Fold, edit: Edit, view: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fold.extract(settings(**VIEWS))
    rewrite(fold.features, edit)

    assert fold.check(settings(**VIEWS)) == 1

    message = capsys.readouterr().err
    assert f"tokens as recomputed (rows 0, 3, view {view})" in message
    assert "view identity): expected" not in message
    assert not fold.out.exists()


def test_features_without_the_views_that_are_asked_for_are_stale(
    fold: Fold, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fold.check(settings(**VIEWS)) == 1

    message = capsys.readouterr().err
    assert "StaleFileError" in message
    assert "features.views: file has ['identity'], run asks for ['identity', 'rotate90'" in message
    assert "features.colour_views: file has 0, run asks for 1" in message
