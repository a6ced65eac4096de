import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from instance_maps import few_nuclei

from cellvit.errors import ContractError
from cellvit.metrics.annotated import within

T, F = True, False


@pytest.mark.parametrize(
    ("prediction", "annotated", "expected"),
    [
        pytest.param([[1, 1, 0, 2]], [[T, T, T, T]], [[1, 1, 0, 2]], id="all_annotated"),
        pytest.param([[5, 5, 0, 9]], [[F, F, F, F]], [[0, 0, 0, 0]], id="nothing_annotated"),
        pytest.param([[5, 5, 5, 9]], [[T, T, F, F]], [[5, 5, 0, 0]], id="a_third_is_cut_off"),
        pytest.param([[5, 5, 5, 0]], [[T, F, F, T]], [[0, 0, 0, 0]], id="two_thirds_outside"),
        pytest.param([[5, 5, 7, 7]], [[T, F, F, T]], [[5, 0, 0, 7]], id="half_is_not_more_than_half"),
        pytest.param([[5, 0, 0, 5]], [[T, T, T, F]], [[5, 0, 0, 0]], id="several_parts"),
        pytest.param([[0, 0, 0, 0]], [[T, F, F, T]], [[0, 0, 0, 0]], id="no_nucleus"),
    ],
)
def test_a_nucleus_counts_if_at_least_half_of_it_is_annotated_and_then_without_the_rest(
    prediction, annotated, expected
) -> None:
    assert within(np.array(prediction), np.array(annotated)).tolist() == expected


@given(data=st.data())
def test_what_is_left_is_the_same_whatever_else_is_predicted_where_nothing_is_annotated(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(2, 9)))
    prediction, other = data.draw(few_nuclei(shape)), data.draw(few_nuclei(shape))
    annotated = np.zeros(shape, bool)
    annotated[:, : data.draw(st.integers(0, shape[1]))] = True
    new_ids = other.astype(np.int64) + int(prediction.max(initial=0)) + 1

    added = np.where(~annotated & (prediction == 0) & (other > 0), new_ids, prediction.astype(np.int64))

    left = within(prediction, annotated)
    assert np.array_equal(within(added, annotated), left)
    assert left.dtype == prediction.dtype
    assert not left[~annotated].any()
    assert set(np.unique(left)) <= {0, *np.unique(prediction)}


def test_another_shape_and_a_probability_map_are_refused() -> None:
    with pytest.raises(ContractError, match=r"prediction and annotated pixels: .* found \(1, 2\) and \(1, 3\)"):
        within(np.zeros((1, 2), int), np.ones((1, 3), bool))
    with pytest.raises(ContractError, match="expected an instance map"):
        within(np.zeros((1, 2)), np.ones((1, 2), bool))
