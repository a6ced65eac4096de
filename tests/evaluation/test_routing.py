import numpy as np
import pytest

from cellvit.evaluation.routing import (
    Routes,
    in_organ_order,
    organ_confusion,
    organ_recall,
    organ_values,
    predicted_decoders,
    routes_of,
    routing_accuracy,
)
from cellvit.metrics.intervals import interval_of_mean
from cellvit.taxonomy import ORGANS

FAMILIES = {"digestive": ("Colon", "Stomach"), "epidermal": ("Skin",), "urologic": ("Kidney",)}
DECODERS = {organ: family for family, organs in FAMILIES.items() for organ in organs}


def probabilities(*tiles: dict[str, float]) -> np.ndarray:
    found = np.zeros((len(tiles), len(ORGANS)))
    for row, tile in enumerate(tiles):
        for organ, value in tile.items():
            found[row, ORGANS.index(organ)] = value
    return found


def test_probabilities_add_up_within_a_family() -> None:
    tile = probabilities({"Skin": 0.4, "Colon": 0.3, "Stomach": 0.3})

    assert predicted_decoders(tile, FAMILIES, names=ORGANS) == ("digestive",)


def test_an_organ_without_a_decoder_gets_no_tile() -> None:
    tiles = probabilities({"Skin": 0.9, "Kidney": 0.1}, {"Colon": 1.0})

    routes = routes_of(tiles, ("Skin", "Colon"), DECODERS | {"Skin": ""}, names=ORGANS)

    assert routes.decoder == ("urologic", "digestive")
    assert routes.right == (None, True)


def test_probabilities_add_up_over_the_organs_of_the_shared_decoder() -> None:
    tiles = probabilities({"Colon": 0.4, "Stomach": 0.3, "Skin": 0.3}, {"Colon": 0.7, "Skin": 0.3})

    routes = routes_of(tiles, ("Skin", "Stomach"), DECODERS | {"Stomach": "all", "Skin": "all"}, names=ORGANS)

    assert routes.decoder == ("all", "digestive")
    assert routes.right == (True, False)


def test_tiles_of_organs_without_a_family_are_left_out_and_counted() -> None:
    tiles = probabilities({"Colon": 1.0}, {"Colon": 0.6, "Skin": 0.4}, {"Skin": 1.0})

    routes = routes_of(tiles, ("Colon", "Breast", "Stomach"), DECODERS, names=ORGANS)

    assert routes.decoder == ("digestive", "", "epidermal")
    assert routes.right == (True, None, False)
    assert routes.left_out == {"their organ belongs to no family": 1}


def test_the_metrics_of_the_head_have_a_baseline() -> None:
    tiles = probabilities({"Colon": 1.0}, {"Colon": 1.0}, {"Colon": 1.0}, {"Skin": 1.0})

    found = organ_values(tiles, ("Colon", "Colon", "Skin", "Skin"), names=ORGANS, groups=None)

    assert found["accuracy"].value == 0.75
    assert found["accuracy_majority"].value == 0.5
    assert found["balanced_accuracy"].value == pytest.approx((1 + 0.5) / 2)
    assert found["calibration_error"].value == pytest.approx(0.25)
    assert all(value.n == 4 for value in found.values())


def test_tiles_whose_family_has_no_decoder_do_not_count_for_routing() -> None:
    routes = Routes(("digestive",) * 5, (True, True, None, False, True), {})

    found = routing_accuracy(routes, groups=None)

    assert (found.value, found.n) == (0.75, 4)


def test_intervals_of_organs_and_routing_are_over_patients() -> None:
    organs, groups = ("Colon", "Skin") * 10, np.repeat(np.arange(4), 5)
    tiles = probabilities(*[{"Colon": 1.0}, {"Skin": 1.0}] * 5, *[{"Skin": 1.0}, {"Colon": 1.0}] * 5)
    routes = Routes(("digestive",) * 20, (True,) * 10 + (False,) * 10, {})

    found = organ_values(tiles, organs, names=ORGANS, groups=groups)
    routing = routing_accuracy(routes, groups=groups)

    for value in (found["accuracy"], found["balanced_accuracy"], routing):
        by_patient = interval_of_mean(np.array([1.0, 1.0, 0.0, 0.0]))
        assert (value.value, value.n, value.units) == (0.5, 20, 4)
        assert value.high - value.low == pytest.approx(by_patient.high - by_patient.low, rel=0.1)


def test_the_confusion_has_the_organs_that_are_true_or_predicted() -> None:
    names, counts = organ_confusion(probabilities({"Skin": 1.0}, {"Colon": 1.0}), ("Colon", "Colon"), names=ORGANS)

    assert names == ("Colon", "Skin")
    assert counts == ((1, 1), (0, 0))


def test_the_outputs_of_a_head_with_fewer_organs_are_put_in_order() -> None:
    wide = in_organ_order(np.array([[0.25, 0.75]]), ("Skin", "Colon"), names=ORGANS)

    assert wide.shape == (1, len(ORGANS))
    assert wide[0, ORGANS.index("Colon")] == 0.75
    assert wide.sum() == 1


def test_recall_is_that_of_each_true_organ() -> None:
    tiles = probabilities({"Skin": 1.0}, {"Colon": 1.0}, {"Colon": 1.0})

    found = organ_recall(tiles, ("Skin", "Colon", "Skin"), names=ORGANS, groups=None)

    assert {organ: (value.value, value.n) for organ, value in found.items()} == {"Colon": (1, 1), "Skin": (0.5, 2)}
