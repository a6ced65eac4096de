import pytest

from cellvit.errors import ContractError, StaleFileError
from cellvit.inference.blocks import block_positions, check_same_encoder, encoder_record, stored_blocks


def settings_of(blocks: list[int] | None, *, input_px: int = 224) -> dict[str, object]:
    return {
        "encoder": {"preset": "tiny-vit", "weights": "random"},
        "features": {"input_px": input_px, "blocks": blocks},
        "organs": ["Colon"],
    }


@pytest.mark.parametrize(
    ("settings", "n", "blocks"),
    [
        pytest.param(settings_of([0, 2, 3]), 3, (0, 2, 3), id="named"),
        pytest.param(settings_of(None), 1, (3,), id="last_block"),
        pytest.param({}, 2, (0, 1), id="no_encoder"),
    ],
)
def test_the_blocks_of_a_store_are_those_of_its_settings(feature_store, settings, n, blocks) -> None:
    store = feature_store(settings, blocks=n)

    assert stored_blocks(store) == blocks
    assert set(encoder_record(store)) == ({"encoder", "features"} if settings else set())


def test_positions_follow_the_order_that_the_decoder_asks_for(feature_store) -> None:
    store = feature_store(settings_of([0, 2, 3]), blocks=3)

    assert block_positions(store, (3, 0)) == (2, 0)
    with pytest.raises(StaleFileError, match=r"reads blocks \[1\], the store holds \[0, 2, 3\]. Fix: set"):
        block_positions(store, (1,))


def test_tokens_that_contradict_their_settings_are_refused(feature_store) -> None:
    with pytest.raises(ContractError, match=r"name the blocks \[0, 2\], but the tokens are of 3 blocks"):
        stored_blocks(feature_store(settings_of([0, 2]), blocks=3))


def test_an_encoder_is_the_same_with_other_blocks_but_not_with_another_input_size(feature_store) -> None:
    record = {**encoder_record(feature_store(settings_of([0]))), "blocks": [0]}

    check_same_encoder(feature_store(settings_of([0, 1]), blocks=2), record)
    with pytest.raises(StaleFileError, match="input_px: model has 224, file has 448"):
        check_same_encoder(feature_store(settings_of([0], input_px=448)), record)
