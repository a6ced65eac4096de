"""The measures behind check_features, on arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellvit.evaluation.feature_checks import feature_statistics, judge_recomputed, judge_shape, judge_statistics
from cellvit.formats.features import FeatureBatch

BAND = (0.6, 1.4)


def features(n: int, seed: int = 0) -> FeatureBatch:
    rng = np.random.default_rng(seed)
    cls = rng.normal(size=(n, 1, 8)).astype(np.float32)
    return FeatureBatch(cls, rng.normal(size=(n, 1, 2, 4, 4, 8)).astype(np.float16))


def parts(batch: FeatureBatch, size: int) -> list[FeatureBatch]:
    return [FeatureBatch(batch.cls[i : i + size], batch.tokens[i : i + size]) for i in range(0, len(batch), size)]


@given(n=st.integers(1, 9), size=st.integers(1, 4), seed=st.integers(0, 99))
def test_statistics_do_not_depend_on_how_the_store_is_read(n: int, size: int, seed: int) -> None:
    batch = features(n, seed)

    found = feature_statistics(parts(batch, size))

    assert found.n_tiles == n
    assert found.cls_std == pytest.approx(batch.cls.std(dtype=np.float64))
    assert found.not_finite == found.constant == ()


def test_rows_are_named_by_their_place_in_the_store() -> None:
    batch = features(5)
    batch.tokens[1, 0, 1, 2, 3, 4] = np.nan
    batch.cls[4, 0, 0] = np.inf
    batch.tokens[3, 0, 0] = 0

    found = feature_statistics(parts(batch, 2))

    assert found.not_finite == (1, 4)
    assert found.constant == (3,)


def test_a_few_dead_channels_are_no_constant_grid() -> None:
    batch = features(2)
    batch.tokens[..., :4] = 1

    assert feature_statistics([batch]).constant == ()


def test_without_tiles_the_standard_deviation_is_undefined_and_nothing_fails() -> None:
    found = feature_statistics([])

    assert np.isnan(found.cls_std)
    assert all(finding.held for finding in judge_statistics(found, BAND))


@pytest.mark.parametrize(
    ("scale", "held", "cause"),
    [(1.0, True, ""), (0.28, False, "before the final LayerNorm"), (3.0, False, "colours overflowed")],
)
def test_the_band_of_cls_names_the_likely_cause(scale: float, held: bool, cause: str) -> None:
    batch = features(64)
    scaled = FeatureBatch(batch.cls * np.float32(scale), batch.tokens)

    *_, finding = judge_statistics(feature_statistics([scaled]), BAND)

    assert finding.held == held
    assert cause in finding.cause


def test_the_ends_of_the_band_belong_to_it() -> None:
    batch = FeatureBatch(np.array([[[-0.5, 0.5]]], np.float32), np.ones((1, 1, 1, 2, 2, 2), np.float16))

    *_, finding = judge_statistics(feature_statistics([batch]), (0.5, 0.5))

    assert finding.held


def test_features_agree_with_themselves() -> None:
    batch = features(2)

    assert all(finding.held for finding in judge_recomputed(batch, batch, (0, 1)))


@pytest.mark.parametrize("axis", [3, 4], ids=["rows", "columns"])
def test_a_shifted_grid_is_told_from_other_weights(axis: int) -> None:
    batch = features(2)
    shifted = FeatureBatch(batch.cls, np.roll(batch.tokens, 1, axis=axis))

    cls, tokens = judge_recomputed(shifted, batch, (0, 1))

    assert (cls.held, tokens.held) == (True, False)
    assert "registers" in tokens.cause


def test_what_all_cells_share_does_not_hide_a_shift() -> None:
    batch = features(2)
    offset = FeatureBatch(batch.cls, batch.tokens / np.float16(8) + np.float16(20))
    shifted = FeatureBatch(offset.cls, np.roll(offset.tokens, 1, axis=3))

    _, tokens = judge_recomputed(shifted, offset, (0, 1))

    assert not tokens.held


def test_one_wrong_tap_of_several_is_enough() -> None:
    batch = features(2)
    swapped = batch.tokens.copy()
    swapped[:, :, 1] = batch.tokens[:, :, 0]

    _, tokens = judge_recomputed(FeatureBatch(batch.cls, swapped), batch, (0, 1))

    assert not tokens.held


def test_values_that_are_not_finite_never_pass() -> None:
    batch, broken = features(2), features(2)
    broken.cls[0] = np.nan
    broken.tokens[0] = np.nan

    assert not any(finding.held for finding in judge_recomputed(broken, batch, (0, 1)))


def test_sizes_are_compared_one_by_one() -> None:
    tiles, grid = judge_shape({"tiles": 3, "grid": 16}, {"tiles": 4, "grid": 16})

    assert (tiles.held, grid.held) == (False, True)
    assert (tiles.check.expected, tiles.check.found) == ("4", "3")


def test_each_view_is_judged_by_itself_and_named() -> None:
    batch = FeatureBatch(
        *(np.concatenate(pair, axis=1) for pair in zip(arrays(features(2)), arrays(features(2, 1)), strict=True))
    )
    turned = batch.tokens.copy()
    turned[:, 1] = np.rot90(batch.tokens[:, 1], axes=(2, 3))

    findings = judge_recomputed(FeatureBatch(batch.cls, turned), batch, (0, 1), ("identity", "rotate90"))

    assert [finding.held for finding in findings] == [True, True, True, False]
    assert "view rotate90" in findings[-1].check.name


def arrays(batch: FeatureBatch) -> tuple[np.ndarray, np.ndarray]:
    return batch.cls, batch.tokens
