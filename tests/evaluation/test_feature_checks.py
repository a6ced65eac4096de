"""The measures of check_features, on arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellvit.evaluation.feature_checks import check_recomputed, check_statistics, feature_statistics
from cellvit.formats.features import FeatureBatch

BAND = (0.6, 1.4)


def features(n: int, seed: int = 0) -> FeatureBatch:
    rng = np.random.default_rng(seed)
    cls = rng.normal(size=(n, 1, 8)).astype(np.float32)
    return FeatureBatch(cls, rng.normal(size=(n, 1, 2, 4, 4, 8)).astype(np.float16))


def parts(batch: FeatureBatch, size: int) -> list[FeatureBatch]:
    return [FeatureBatch(batch.cls[i : i + size], batch.tokens[i : i + size]) for i in range(0, len(batch), size)]


def passed(stored: FeatureBatch, recomputed: FeatureBatch) -> list[bool]:
    """Whether CLS and tokens pass."""
    return [result.passed for result in check_recomputed(stored, recomputed, (0, 1))]


@given(n=st.integers(1, 9), size=st.integers(1, 4), seed=st.integers(0, 99))
def test_statistics_do_not_depend_on_how_the_store_is_read(n: int, size: int, seed: int) -> None:
    batch = features(n, seed)

    found = feature_statistics(parts(batch, size))

    assert found.n_tiles == n
    assert found.cls_std == pytest.approx(batch.cls.std(dtype=np.float64))
    assert found.not_finite == found.constant == ()


def test_failing_rows_are_counted_over_the_store_and_a_few_dead_channels_pass() -> None:
    batch = features(5)
    batch.tokens[1, 0, 1, 2, 3, 4] = np.nan
    batch.cls[4, 0, 0] = np.inf
    batch.tokens[3, 0, 0] = 0
    batch.tokens[0, ..., :4] = 1

    found = feature_statistics(parts(batch, 2))

    assert found.not_finite == (1, 4)
    assert found.constant == (3,)


def test_without_tiles_the_standard_deviation_is_undefined_and_every_check_passes() -> None:
    found = feature_statistics([])

    assert np.isnan(found.cls_std)
    assert all(result.passed for result in check_statistics(found, BAND))


@pytest.mark.parametrize(
    ("scale", "ok", "cause"),
    [(1.0, True, ""), (0.28, False, "before the final LayerNorm"), (3.0, False, "colours that overflowed")],
)
def test_the_band_of_cls_names_the_likely_cause(scale: float, ok: bool, cause: str) -> None:
    batch = features(64)
    scaled = FeatureBatch(batch.cls * np.float32(scale), batch.tokens)

    *_, result = check_statistics(feature_statistics([scaled]), BAND)

    assert result.passed == ok
    assert cause in result.cause


def test_the_ends_of_the_band_belong_to_it() -> None:
    batch = FeatureBatch(np.array([[[-0.5, 0.5]]], np.float32), np.ones((1, 1, 1, 2, 2, 2), np.float16))

    *_, result = check_statistics(feature_statistics([batch]), (0.5, 0.5))

    assert result.passed


@pytest.mark.parametrize("axis", [3, 4], ids=["rows", "columns"])
@pytest.mark.parametrize("offset", [0, 20])
def test_a_shifted_grid_fails_alone_also_if_all_cells_share_a_large_value(axis: int, offset: int) -> None:
    batch = features(2)
    batch = FeatureBatch(batch.cls, batch.tokens / np.float16(8) + np.float16(offset))
    shifted = FeatureBatch(batch.cls, np.roll(batch.tokens, 1, axis=axis))

    cls, tokens = check_recomputed(shifted, batch, (0, 1))

    assert passed(batch, batch) == [True, True]
    assert (cls.passed, tokens.passed) == (True, False)
    assert "registers" in tokens.cause


def test_one_wrong_block_of_several_fails() -> None:
    batch = features(2)
    swapped = batch.tokens.copy()
    swapped[:, :, 1] = batch.tokens[:, :, 0]

    assert passed(FeatureBatch(batch.cls, swapped), batch) == [True, False]


def test_values_that_are_not_finite_never_pass() -> None:
    broken = features(2)
    broken.cls[0] = np.nan
    broken.tokens[0] = np.nan

    assert passed(broken, features(2)) == [False, False]


def test_each_view_is_checked_separately_and_named() -> None:
    both = (features(2), features(2, 1))
    cls, tokens = (np.concatenate([getattr(one, name) for one in both], axis=1) for name in ("cls", "tokens"))
    rotated = tokens.copy()
    rotated[:, 1] = np.rot90(tokens[:, 1], axes=(2, 3))

    stored, recomputed = FeatureBatch(cls, rotated), FeatureBatch(cls, tokens)
    results = check_recomputed(stored, recomputed, (0, 1), ("identity", "rotate90"))

    assert [result.passed for result in results] == [True, True, True, False]
    assert "view rotate90" in results[-1].name
