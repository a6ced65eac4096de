"""check_features passes the features of the encoder, and stops at all others with the likely cause."""

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.config.presets import UNTRAINED_BAND
from cellvit.config.steps import ExtractFeaturesSettings
from cellvit.errors import IntegrityError, StaleFileError
from cellvit.formats.documents import read_document
from cellvit.formats.features import FEATURES, FeatureBatch, FeatureCheck, append_features, open_features, read_features
from cellvit.formats.provenance import Provenance
from cellvit.formats.writing import writing
from cellvit.models.weights import load_model
from cellvit.stages import check_features, extract_features

Edit = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
VIEWS = {"views": ("dihedral8",), "colour_views": 1}
RNG = np.random.default_rng(0)


def settings(weights: str = "random", seed: int = 0, **features: object) -> ExtractFeaturesSettings:
    encoder = EncoderSettings(preset="tiny-vit", weights=weights, seed=seed)
    return ExtractFeaturesSettings(encoder=encoder, features=FeaturesSettings(**{"views": ("identity",), **features}))


@dataclasses.dataclass(frozen=True)
class Fold:
    """Tiles, features and check of one fold."""

    root: Path

    @property
    def tiles(self) -> Path:
        return self.root / "tiles/fold1.h5"

    @property
    def features(self) -> Path:
        return self.root / "features/fold1.h5"

    @property
    def out(self) -> Path:
        return self.root / "features/fold1_check.json"

    def extract(self, asked: ExtractFeaturesSettings) -> "Fold":
        stores = {"tiles": self.tiles, "check": self.tiles, "features": self.features}
        extract_features.run(extract_features.Arguments(settings=asked, **stores, device="cpu"))
        return self

    def check(self, asked: ExtractFeaturesSettings) -> FeatureCheck:
        stores = {"tiles": self.tiles, "features": self.features, "check": self.out}
        check_features.run(check_features.Arguments(settings=asked, **stores, device="cpu"))
        return read_document(self.out, FeatureCheck)

    def rewrite(self, edit: Edit, forge: Callable[[Provenance], Provenance] = lambda origin: origin) -> None:
        """Replace the features, and keep their provenance unless it is forged."""
        with open_features(self.features) as store:
            n, views, blocks, g, _, dim = store.shape("tokens")
            batch, origin = read_features(store, np.arange(n)), store.provenance
        cls, tokens = edit(batch.cls.copy(), batch.tokens.copy())
        sizes = {"views": views, "blocks": blocks, "g": g, "dim": dim}
        with writing(self.features, FEATURES, len(cls), sizes, forge(origin)) as writer:
            append_features(writer, FeatureBatch(cls, tokens))


@pytest.fixture
def new_fold(tmp_path: Path, write_tile_store: Callable[..., Path]) -> Callable[..., Fold]:
    """A fold of `n` tiles without features."""

    def make(n: int = 4) -> Fold:
        fold = Fold(tmp_path / "fold")
        write_tile_store(fold.tiles, 1, ["Colon"] * n, simulated=True)
        return fold

    return make


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where folds with features of the identity view, and of several views, are kept once they are extracted."""
    return {name: tmp_path_factory.mktemp(name) / "fold" for name in ("identity", "views")}


def _copied(extracted: dict[str, Path], name: str, new: Callable[..., Fold], asked: ExtractFeaturesSettings) -> Fold:
    fold = new()
    if not extracted[name].exists():
        shutil.copytree(fold.extract(asked).root, extracted[name])
    shutil.copytree(extracted[name], fold.root, dirs_exist_ok=True)
    return fold


@pytest.fixture
def fold(extracted: dict[str, Path], new_fold: Callable[..., Fold]) -> Fold:
    return _copied(extracted, "identity", new_fold, settings())


@pytest.fixture
def fold_of_views(extracted: dict[str, Path], new_fold: Callable[..., Fold]) -> Fold:
    return _copied(extracted, "views", new_fold, settings(**VIEWS))


def test_features_of_the_encoder_pass_and_the_document_says_what_was_found(fold: Fold) -> None:
    check = fold.check(settings())

    assert (check.fold_id, check.n_tiles) == ("fold1", 4)
    assert UNTRAINED_BAND[0] < check.cls_std < UNTRAINED_BAND[1]
    assert {one.name for one in check.checks} >= {"finite values", "standard deviation of CLS", "size of tiles"}
    assert set(check.provenance.made_from) == {"../tiles/fold1.h5", "fold1.h5"}
    assert check.provenance.marks == ("simulated data", "untrained encoder")


@pytest.mark.parametrize("n", [0, 1])
def test_a_fold_of_no_or_one_tile_passes(new_fold: Callable[..., Fold], n: int) -> None:
    asked = settings(blocks=(0, 3))

    check = new_fold(n).extract(asked).check(asked)

    assert (check.n_tiles, np.isnan(check.cls_std)) == (n, n == 0)


def nan_in_one_row(cls: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    tokens[2, 0, 0, 5, 5, 5] = np.nan
    return cls, tokens


def row_of_zeros(cls: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    tokens[1] = 0
    return cls, tokens


def registers_as_patches(cls: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return cls, np.roll(tokens.reshape(len(cls), 256, 96), 4, axis=1).reshape(tokens.shape)


def noise(cls: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return RNG.normal(size=cls.shape).astype(np.float32), RNG.normal(size=tokens.shape).astype(np.float16)


@pytest.mark.parametrize(
    ("edit", "cause"),
    [
        pytest.param(noise, "other weights, another seed", id="noise"),
        pytest.param(
            lambda cls, tokens: (cls * np.float32(0.28), tokens * np.float16(0.28)),
            "before the final LayerNorm",
            id="before_the_norm",
        ),
        pytest.param(
            lambda cls, tokens: (cls * np.float32(2), tokens), "colours that overflowed", id="image_scaled_twice"
        ),
        pytest.param(registers_as_patches, "registers counted as patches", id="registers"),
        pytest.param(lambda cls, tokens: (cls, tokens.swapaxes(3, 4)), "transposed", id="transposed"),
        pytest.param(
            nan_in_one_row, "finite values: expected all rows, found all but 1 rows, the first of which is 2", id="nan"
        ),
        pytest.param(row_of_zeros, "rows were not written", id="row_of_zeros"),
        pytest.param(lambda cls, tokens: (cls[::-1], tokens[::-1]), "recomputed", id="reversed_tiles"),
        pytest.param(lambda cls, tokens: (cls[:-1], tokens[:-1]), "tiles were lost or added", id="lost_tile"),
    ],
)
def test_wrong_features_stop_the_run_with_their_likely_cause(fold: Fold, edit: Edit, cause: str) -> None:
    fold.rewrite(edit)

    with pytest.raises(IntegrityError) as caught:
        fold.check(settings())

    assert cause in str(caught.value)
    assert re.search(
        rf"Fix: snakemake --forcerun extract_features .*enabled.: false.* -- {fold.features}", str(caught.value)
    )
    assert not fold.out.exists()


def test_features_of_another_seed_fail_even_if_their_settings_are_forged(fold: Fold) -> None:
    def forge(origin: Provenance) -> Provenance:
        return origin.model_copy(update={"settings": settings().model_dump(mode="json")})

    fold.extract(settings(seed=1)).rewrite(lambda cls, tokens: (cls, tokens), forge)

    with pytest.raises(IntegrityError, match="other weights, another seed"):
        fold.check(settings())


def test_other_settings_are_named_with_both_values(fold: Fold) -> None:
    with pytest.raises(StaleFileError) as caught:
        fold.check(settings(input_px=252, blocks=(1,), **VIEWS))

    message = str(caught.value)
    assert "features.input_px: file has 224, run asks for 252" in message
    assert "features.blocks: file has None, run asks for [1]" in message
    assert "features.views: file has ['identity'], run asks for ['identity', 'rotate90'" in message
    assert "features.colour_views: file has 0, run asks for 1" in message
    assert "features.precision" not in message


def test_features_of_other_tiles_are_stale(fold: Fold, write_tile_store: Callable[..., Path]) -> None:
    write_tile_store(fold.tiles, 2, ["Colon"] * 4)

    with pytest.raises(StaleFileError, match=f"other tiles than {fold.tiles} holds"):
        fold.check(settings())


def test_weights_that_changed_since_the_extraction_are_stale(new_fold: Callable[..., Fold], tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"

    def save(seed: int) -> None:
        save_file(
            load_model(EncoderSettings(preset="tiny-vit", weights="random", seed=seed)).model.state_dict(), weights
        )

    asked = settings(str(weights))
    save(0)
    fold = new_fold().extract(asked)
    fold.check(asked)
    save(1)

    with pytest.raises(StaleFileError, match="other weights than"):
        fold.check(asked)


def test_every_view_is_recomputed_and_named(fold_of_views: Fold) -> None:
    check = fold_of_views.check(settings(**VIEWS))

    names = [one.name for one in check.checks]
    for view in ("identity", "rotate90", "flip_rotate270", "colour 1"):
        assert f"recomputed tokens (rows 0, 3, view {view})" in names
    assert len(names) == len(set(names))


def rotated_instead_of_extracted(cls: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    tokens[:, 4] = tokens[:, 0, :, :, ::-1]
    return cls, tokens


def colours_of_another_sample(cls: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    tokens[:, 8], cls[:, 8] = tokens[:, 0], cls[:, 0]
    return cls, tokens


@pytest.mark.parametrize(
    ("edit", "view"),
    [
        pytest.param(lambda cls, tokens: (cls, tokens[:, [0, 2, 1, *range(3, 9)]]), "rotate90", id="swapped_views"),
        pytest.param(rotated_instead_of_extracted, "flip", id="rotated_instead_of_extracted"),
        pytest.param(colours_of_another_sample, "colour 1", id="other_colours"),
    ],
)
def test_a_view_that_the_encoder_did_not_see_stops_the_run_and_is_named(
    fold_of_views: Fold, edit: Edit, view: str
) -> None:
    fold_of_views.rewrite(edit)

    with pytest.raises(IntegrityError) as caught:
        fold_of_views.check(settings(**VIEWS))

    assert f"recomputed tokens (rows 0, 3, view {view})" in str(caught.value)
    assert "view identity): expected" not in str(caught.value)
    assert not fold_of_views.out.exists()


def test_features_of_a_pyramid_are_checked_in_every_view_and_marked(new_fold: Callable[..., Fold]) -> None:
    asked = ExtractFeaturesSettings(
        encoder=EncoderSettings(preset="efficientnet-lite0"),
        features=FeaturesSettings(input_px=256, views=("identity", "rotate90"), colour_views=1),
    )
    fold = new_fold(2).extract(asked)

    with pytest.raises(IntegrityError, match="standard deviation of CLS"):  # the tiles are noise, not tissue
        fold.check(asked)

    with open_features(fold.features) as store:
        assert store.shape("tokens") == (2, 3, 1, 16, 16, 592)
        assert store.provenance.marks == ("simulated data", "encoder trained on ImageNet, no pathology")
        assert store.provenance.made_from["data:weights"] == asked.encoder.spec.sha256
    loose = asked.encoder.spec.model_copy(update={"cls_std": (0.1, 1.5)})
    custom = asked.model_copy(update={"encoder": EncoderSettings(preset="custom", custom=loose)})
    check = fold.extract(custom).check(custom)
    assert {f"recomputed tokens (rows 0, 1, view {view})" for view in ("identity", "rotate90", "colour 1")} <= {
        one.name for one in check.checks
    }
