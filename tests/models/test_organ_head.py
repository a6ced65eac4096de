import pytest
import torch

from cellvit.errors import ContractError
from cellvit.models.organ_head import OrganHead, known_softmax


def head_of(organs: int = 3, dim: int = 8) -> OrganHead:
    torch.manual_seed(0)
    return OrganHead(dim, 5, organs, 0.1).eval()


def test_probabilities_sum_to_one():
    probabilities = head_of().probabilities(torch.randn(4, 8))

    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(4))


def test_an_organ_without_training_tiles_is_never_predicted():
    head = head_of()
    head.learn_only(torch.tensor([True, False, True]))

    probabilities = head.probabilities(100 * torch.randn(64, 8))

    assert probabilities[:, 1].max() == 0
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(64))


def test_standardised_tokens_have_mean_0_and_spread_1():
    head, cls = head_of(), 3 + 2 * torch.randn(500, 8)

    head.standardise(cls)

    standardised = (cls - head.mean) / head.std
    torch.testing.assert_close(standardised.mean(dim=0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(standardised.std(dim=0, correction=0), torch.ones(8))


def test_a_constant_value_is_centred_and_stays_finite():
    head, cls = head_of(), torch.full((10, 8), 2.0)

    head.standardise(cls)

    assert head(cls).isfinite().all()


def test_a_high_temperature_makes_answers_less_sure_and_changes_none():
    logits, known = torch.tensor([[3.0, 1.0, 0.0]]), torch.ones(3, dtype=torch.bool)

    sure, unsure = known_softmax(logits, known, 1.0), known_softmax(logits, known, 4.0)

    assert unsure.max() < sure.max()
    assert unsure.argmax() == sure.argmax()


def test_all_that_prediction_needs_is_in_the_weights():
    first, second = head_of(), OrganHead(8, 5, 3, 0.1).eval()
    first.standardise(torch.randn(20, 8))
    first.temperature.fill_(2.5)
    first.learn_only(torch.tensor([True, True, False]))

    second.load_state_dict(first.state_dict(), strict=True)

    cls = torch.randn(6, 8)
    assert torch.equal(first.probabilities(cls), second.probabilities(cls))


def test_no_organ_at_all_is_refused():
    with pytest.raises(ContractError, match="training tiles of at least one organ"):
        head_of().learn_only(torch.zeros(3, dtype=torch.bool))
