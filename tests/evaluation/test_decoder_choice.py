import math

import pytest

from cellvit.config.evaluation import RoutingSettings
from cellvit.evaluation.decoder_choice import MIN_TILES, choices_in_words, choose_decoders, with_test_differences
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.provenance import Provenance
from cellvit.formats.watershed import ValidationTile, WatershedChoice

FAMILIES = {"digestive": ("Colon", "Stomach")}
VALIDATION, FAMILY = RoutingSettings(), RoutingSettings(decoder="family")


def tuned(family: str, select_by: str = "bpq", **values: list[float]) -> WatershedChoice:
    """A choice with these values on the validation tiles of each organ."""
    tiles = tuple(
        ValidationTile(tile_id=f"{organ}-{place}", organ=organ, patient=f"{organ}-{place % 5}", value=value)
        for organ, of_organ in values.items()
        for place, value in enumerate(of_organ)
    )
    of = {
        "provenance": Provenance(data_set=PANNUKE),
        "split": "1",
        "family": family,
        "status": "tuned",
        "method": "hovernet",
    }
    return WatershedChoice(**of, select_by=select_by, parameters={}, validation=tiles)


def chosen(own: WatershedChoice, shared: WatershedChoice, routing: RoutingSettings = VALIDATION) -> dict[str, tuple]:
    found = choose_decoders(FAMILIES, {"digestive": own, "all": shared}, routing)
    return {choice.organ: (choice.decoder, choice.chosen_by) for choice in found}


def test_each_organ_has_the_decoder_that_is_better_on_its_validation_tiles() -> None:
    own = tuned("digestive", Colon=[0.5] * MIN_TILES, Stomach=[0.5] * MIN_TILES)
    shared = tuned("all", Colon=[0.6] * MIN_TILES, Stomach=[0.4] * MIN_TILES, Skin=[0.9] * MIN_TILES)

    assert chosen(own, shared) == {"Colon": ("all", "organ"), "Stomach": ("digestive", "organ")}


def test_the_family_wins_a_tie() -> None:
    own, shared = (tuned(name, Colon=[0.5] * MIN_TILES) for name in ("digestive", "all"))

    assert chosen(own, shared)["Colon"] == ("digestive", "organ")


def test_an_organ_with_few_tiles_or_none_follows_the_tiles_of_its_family() -> None:
    own = tuned("digestive", Colon=[0.5] * (MIN_TILES - 1))
    shared = tuned("all", Colon=[0.6] * (MIN_TILES - 1))

    assert chosen(own, shared) == {"Colon": ("all", "family"), "Stomach": ("all", "family")}


def test_a_tile_on_which_one_decoder_is_undefined_does_not_count() -> None:
    own = tuned("digestive", Colon=[math.nan, *[0.5] * MIN_TILES, 1.0])
    shared = tuned("all", Colon=[0.0, *[0.6] * MIN_TILES, math.nan])

    (colon, stomach) = choose_decoders(FAMILIES, {"digestive": own, "all": shared}, VALIDATION)

    assert (colon.decoder, colon.chosen_by) == ("all", "organ")
    assert (colon.own.value, colon.shared.value) == (pytest.approx(0.5), pytest.approx(0.6))
    assert colon.difference.value == pytest.approx(-0.1)
    assert (colon.difference.n, colon.difference.units) == (MIN_TILES, 5)
    assert stomach.own is None


@pytest.mark.parametrize(
    ("own", "shared"),
    [
        (tuned("digestive"), tuned("all", Colon=[0.6] * 20)),
        (tuned("digestive", Colon=[math.nan] * 20), tuned("all", Colon=[0.6] * 20)),
        (tuned("digestive", "aji", Colon=[0.5] * 20), tuned("all", Colon=[0.6] * 20)),
    ],
    ids=["no_tiles", "undefined", "other_metric"],
)
def test_without_a_comparison_the_family_has_its_own_decoder(own: WatershedChoice, shared: WatershedChoice) -> None:
    assert set(chosen(own, shared).values()) == {("digestive", "undefined")}


def test_by_setting_the_comparison_is_shown_and_not_used() -> None:
    own, shared = tuned("digestive", Colon=[0.5] * 20), tuned("all", Colon=[0.6] * 20)

    colon, _ = choose_decoders(FAMILIES, {"digestive": own, "all": shared}, FAMILY)

    assert (colon.decoder, colon.chosen_by) == ("digestive", "setting")
    assert colon.difference.value == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("known", "decoder"), [(["all"], "all"), (["digestive"], "digestive"), ([], "")], ids=["shared", "own", "neither"]
)
@pytest.mark.parametrize("routing", [VALIDATION, FAMILY])
def test_a_decoder_that_is_alone_is_used(known: list[str], decoder: str, routing: RoutingSettings) -> None:
    found = choose_decoders(FAMILIES, {name: tuned(name, Colon=[0.5] * 20) for name in known}, routing)

    assert {(choice.decoder, choice.chosen_by) for choice in found} == {(decoder, "alone")}


def test_the_test_difference_is_paired_by_tile_and_organ(scored) -> None:
    choices = choose_decoders(FAMILIES, {"digestive": tuned("digestive"), "all": tuned("all")}, VALIDATION)
    organs = ["Colon", "Colon", "Colon", "Skin"]
    own = scored(organs[:3], bpq=[0.5, 0.7, math.nan])
    shared = scored(organs, bpq=[0.4, 0.4, 0.9, 0.0])

    colon, stomach = with_test_differences(choices, {"digestive": own, "all": shared})

    assert colon.test.value == pytest.approx(0.2)
    assert colon.test.n == 2
    assert stomach.test is None
    assert with_test_differences(choices, {"all": shared})[0].test is None


def test_a_line_counts_the_organs_of_the_shared_decoder() -> None:
    both = {"digestive": tuned("digestive", Colon=[0.5] * 20), "all": tuned("all", Colon=[0.6] * 20)}
    by_validation = choose_decoders(FAMILIES, both, VALIDATION)
    by_setting = choose_decoders(FAMILIES, both, FAMILY)
    alone = choose_decoders(FAMILIES, {"all": both["all"]}, FAMILY)

    assert choices_in_words(by_validation * 2, n_splits=2) == (
        "4 of 4 organs in 2 splits use the shared decoder (chosen on validation tiles)."
    )
    assert choices_in_words(by_setting, n_splits=1) == ""
    assert choices_in_words(alone, n_splits=1) == (
        "2 of 2 organs use the shared decoder (2 of them have no decoder of their family)."
    )
