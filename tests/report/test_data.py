import pytest
import run_documents as documents

from cellvit.errors import ContractError
from cellvit.report.data import ReportData, pair_decoders

TRAINING = (documents.header("digestive"), documents.history())


def test_decoders_are_in_the_order_of_the_settings_with_the_shared_one_last(data: ReportData) -> None:
    assert [decoder.header.family for decoder in data.decoders] == ["digestive", "epidermal", "all"]
    assert [decoder.is_shared for decoder in data.decoders] == [False, False, True]


def test_decoders_of_a_later_split_follow_those_of_an_earlier_one() -> None:
    later = (documents.header("digestive", split="2"), documents.history())

    decoders = pair_decoders(documents.SETTINGS, [later, TRAINING], evaluations=[documents.evaluation("digestive")])

    assert [decoder.header.split for decoder in decoders] == ["1", "2"]
    assert [decoder.evaluation is None for decoder in decoders] == [False, True]


@pytest.mark.parametrize(
    ("trainings", "others", "message"),
    [
        pytest.param([TRAINING, TRAINING], {}, "two documents are the checkpoint", id="two_checkpoints"),
        pytest.param(
            [TRAINING], {"evaluations": [documents.evaluation("digestive")] * 2}, "two documents", id="two_evaluations"
        ),
        pytest.param([], {"evaluations": [documents.evaluation("digestive")]}, "has no checkpoint", id="evaluation"),
        pytest.param([TRAINING], {"watersheds": [documents.watershed("all")]}, "has no checkpoint", id="watershed"),
        pytest.param(
            [TRAINING], {"galleries": [documents.gallery("digestive", split="2")]}, "has no checkpoint", id="gallery"
        ),
    ],
)
def test_documents_that_do_not_belong_together_are_refused(trainings: list, others: dict, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        pair_decoders(documents.SETTINGS, trainings, **others)
