from collections.abc import Callable

import pandas as pd
import pytest

from cellvit.config.settings import Settings
from cellvit.errors import ContractError
from cellvit.formats.tile_table import TileScores
from cellvit.report.findings import Decoder, Findings, pair_decoders


def test_decoders_follow_the_order_of_the_settings_with_the_control_last(decoders: tuple[Decoder, ...]) -> None:
    assert [decoder.header.family for decoder in decoders] == ["digestive", "epidermal", "all"]
    assert [decoder.is_control for decoder in decoders] == [False, False, True]


def test_table_of_another_family_is_refused(
    settings: Settings, decoders: tuple[Decoder, ...], judged: Callable[..., TileScores]
) -> None:
    digestive = decoders[0]
    other = {"decoder": judged([0.1, 0.2, 0.3], family="glandular")}

    with pytest.raises(ContractError, match="in the order of their evaluations"):
        pair_decoders(settings, [(digestive.header, digestive.history)], [], [(digestive.evaluation, other)])


def test_history_of_another_decoder_is_refused(settings: Settings, decoders: tuple[Decoder, ...]) -> None:
    history = decoders[0].history.assign(chosen=[1, 0, 0, 0, 0, 0])

    with pytest.raises(ContractError, match=r"keeps epoch \[4\], the history marks \[1\]"):
        pair_decoders(settings, [(decoders[0].header, history)], [], [])


def test_absent_decoder_has_a_history_without_rows(settings: Settings, decoders: tuple[Decoder, ...]) -> None:
    (absent,) = pair_decoders(settings, [(decoders[1].header, pd.DataFrame(columns=["epoch", "chosen"]))], [], [])

    assert absent.evaluation is None
    assert not len(absent.history)


def test_evaluation_without_checkpoint_is_refused(settings: Settings, decoders: tuple[Decoder, ...]) -> None:
    with pytest.raises(ContractError, match="has no checkpoint"):
        pair_decoders(settings, [], [], [(decoders[0].evaluation, decoders[0].tiles)])


def test_two_documents_of_one_decoder_are_refused(settings: Settings, decoders: tuple[Decoder, ...]) -> None:
    twice = [(decoders[0].header, decoders[0].history)] * 2

    with pytest.raises(ContractError, match="two documents"):
        pair_decoders(settings, twice, [], [])


def test_marks_are_those_of_any_document(findings: Findings) -> None:
    assert findings.marks == ("simulated data", "untrained encoder")
