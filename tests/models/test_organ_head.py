import pytest
import torch

from cellvit.errors import ContractError
from cellvit.models.organ_head import OrganHead


def head_of(organs: int = 3, dim: int = 8) -> OrganHead:
    torch.manual_seed(0)
    return OrganHead(dim, 5, organs, 0.1).eval()


def test_an_organ_without_training_tiles_is_never_predicted():
    head = head_of()
    head.set_trained(torch.tensor([True, False, True]))

    probabilities = head.probabilities(100 * torch.randn(64, 8))

    assert probabilities[:, 1].max() == 0
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(64))


def test_standardised_tokens_have_mean_0_and_deviation_1_and_a_constant_channel_is_finite():
    head, cls = head_of(), 3 + 2 * torch.randn(500, 8)
    cls[:, 0] = 2.0

    head.standardise(cls)

    standardised = (cls - head.mean) / head.std
    torch.testing.assert_close(standardised.mean(dim=0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(standardised[:, 1:].std(dim=0, correction=0), torch.ones(7))
    assert head(cls).isfinite().all()


def test_the_weights_hold_everything_that_prediction_needs():
    first, second = head_of(), OrganHead(8, 5, 3, 0.1).eval()
    first.standardise(torch.randn(20, 8))
    first.temperature.fill_(2.5)
    first.set_trained(torch.tensor([True, True, False]))

    second.load_state_dict(first.state_dict(), strict=True)

    cls = torch.randn(6, 8)
    assert torch.equal(first.probabilities(cls), second.probabilities(cls))


def test_training_without_any_organ_is_refused():
    with pytest.raises(ContractError, match="training tiles of at least one organ"):
        head_of().set_trained(torch.zeros(3, dtype=torch.bool))
