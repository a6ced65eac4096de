import dataclasses
import re
from html.parser import HTMLParser
from typing import Any

import pytest
import run_documents as documents

from cellvit.errors import ContractError
from cellvit.formats.checkpoints import StartWeights
from cellvit.formats.evaluations import FamilyEvaluation, SourceValues
from cellvit.report.data import ReportData, pair_decoders, pair_finals
from cellvit.report.exhibits import shown_galleries
from cellvit.report.page import render

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Reader(HTMLParser):
    """Collects tags with their attributes and checks that every tag is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def attributes(self, tag: str, name: str) -> list[str]:
        return [attributes.get(name) or "" for found, attributes in self.tags if found == tag]


@pytest.fixture(scope="module")
def page(data: ReportData) -> str:
    return render(data)


def test_page_opens_offline_needs_no_script_and_is_a_function_of_its_data(data: ReportData, page: str) -> None:
    reader = Reader(page)
    sources = reader.attributes("img", "src")

    assert not {"script", "link", "iframe"} & {tag for tag, _ in reader.tags}
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert not re.search(r"https?://(?!huggingface\.co)|@import|url\(", page)
    assert render(data) == page


def test_marks_are_in_title_and_banner_and_real_data_have_none(data: ReportData, page: str) -> None:
    assert "SIMULATED DATA · UNTRAINED ENCODER" in page
    assert "say nothing about tissue" in page
    assert re.search(r"<title>[^<]*simulated data, untrained encoder", page)
    assert 'class="banner"' not in render(dataclasses.replace(data, marks=()))


def test_a_mark_of_the_encoder_is_in_the_banner_and_in_words(data: ReportData) -> None:
    page = render(dataclasses.replace(data, marks=("encoder trained on ImageNet, no pathology",)))

    assert "ENCODER TRAINED ON IMAGENET, NO PATHOLOGY" in page
    assert (
        "The encoder is trained on ImageNet, no pathology. The values on this page say nothing about the features"
        in page
    )


def test_the_legend_names_every_class_and_the_page_what_the_reader_must_know(page: str) -> None:
    legend = page.split('aria-label="Colours of the classes">')[1].split("</ul>")[0]
    names = re.findall(r"</svg>([^<]+)<", legend)

    expected = (
        f"{documents.REASON}|undefined (n = 0)|CC BY-NC-SA|training.steps|Fix: only 600 steps were taken|Calibration error (ECE)|"
        "Settings in full|cellvit-optimus 0|then over organs|step 400 was selected|also where its result was reused"
    ).split("|")

    assert names == ["Neoplastic", "Inflammatory", "Connective", "Dead", "Epithelial", "Class not known"]
    assert [text for text in expected if text not in page] == []


def test_images_have_texts_tables_have_scopes_and_links_lead_somewhere(page: str) -> None:
    reader = Reader(page)
    links = {link[1:] for link in reader.attributes("a", "href")}

    assert all(reader.attributes("img", "alt"))
    assert all(reader.attributes("th", "scope"))
    assert len(reader.attributes("h1", "id")) == 1
    assert reader.attributes("html", "lang") == ["en"]
    assert links
    assert links <= {attributes.get("id") for _, attributes in reader.tags}


def test_galleries_show_two_tiles_a_rank_in_the_first_split_and_one_in_later_splits(data: ReportData) -> None:
    keys = [(split, family) for split in ("1", "2") for family in ("digestive", "all")]
    decoders = pair_decoders(
        documents.SETTINGS,
        [(documents.header(family, split=split), documents.history()) for split, family in keys],
        evaluations=[documents.evaluation(family, split=split) for split, family in keys],
        galleries=[documents.gallery(family, split=split) for split, family in keys],
    )

    shown = shown_galleries(dataclasses.replace(data, decoders=decoders))

    ranks = documents.RANKS
    assert [(gallery.split, gallery.family) for gallery in shown] == [("1", "digestive"), ("2", "digestive")]
    assert [tile.tile_id for tile in shown[0].tiles] == [f"{rank}-{place}" for rank in ranks for place in range(2)]
    assert [tile.tile_id for tile in shown[1].tiles] == ["best-0", "median-1", "worst-0", "random-0"]


def test_a_gallery_without_tiles_shows_its_note_and_names_from_data_are_escaped(data: ReportData) -> None:
    empty = dataclasses.replace(data.decoders[0], gallery=documents.gallery("digestive", tiles_per_rank=0))
    routed = data.routed[0].model_copy(update={"left_out": {"<script>alert(1)</script>": 1}})

    page = render(dataclasses.replace(data, decoders=(empty,), routed=(routed,)))

    assert "<script>" not in page
    assert "No test tile of this family has a nucleus." in page
    assert 'class="exhibit"' not in page


def test_values_by_source_are_one_table_and_are_hidden_where_no_tile_names_its_source(
    data: ReportData, page: str
) -> None:
    decoder = SourceValues(
        trained_on={"Bern <1>": "unseen", "Lyon": "seen"},
        n_tiles={"Bern <1>": 1, "Lyon": 1},
        values={"Bern <1>": documents.values(aji=0.417), "Lyon": documents.values(aji=0.628)},
        gaps=documents.values(aji=0.211),
    )
    evaluation = documents.evaluation("digestive").model_copy(update={"sources": {"decoder": decoder}})
    pairs = pair_decoders(
        documents.SETTINGS, [(documents.header("digestive"), documents.history())], evaluations=[evaluation]
    )

    shown = render(dataclasses.replace(data, decoders=pairs))

    assert "By source of the tiles" not in page
    Reader(shown)
    section = shown.split("<h3>By source of the tiles</h3>")[1].split("</details>")[0]
    for text in (
        "The gap is the value over all tiles of sources that trained",
        "Bern &lt;1&gt;",
        "0.417",
        "0.628",
        "0.211",
    ):
        assert text in section
    assert section.index("not seen in training; 1 tile of unknown source left out") < section.index(
        "seen minus not seen</"
    )


def test_page_without_anything_evaluated_says_so(data: ReportData) -> None:
    names = ("routed", "organ_heads", "target_checks", "feature_checks", "fold_summaries", "timings")
    nothing = {"summary": {}, "decoders": data.decoders[1:2], **dict.fromkeys(names, ())}

    page = render(dataclasses.replace(data, **nothing))

    assert "0 family decoders in 1 split were evaluated" in page
    assert documents.REASON in page


def test_page_of_a_single_patient_has_values_without_intervals(data: ReportData) -> None:
    decoder = data.decoders[0]
    assert decoder.evaluation is not None
    values = _without_intervals(decoder.evaluation.model_dump())
    single = dataclasses.replace(decoder, evaluation=FamilyEvaluation.model_validate(values | {"n_patients": 1}))

    page = render(dataclasses.replace(data, decoders=(single,)))

    assert "fewer than 3 patients: no interval" in page
    assert "not clear in 1 of 1" in page


def _without_intervals(part: dict[str, Any]) -> dict[str, Any]:
    found = {key: _without_intervals(value) if isinstance(value, dict) else value for key, value in part.items()}
    return found | {"low": None, "high": None} if "low" in found else found


def started(data: ReportData, n_seen: int) -> ReportData:
    """The run with decoders that started from the weights of a file."""
    start = {"file": "old.safetensors", "sha256": "ab" * 32, "split": "2", "family": "all", "step": 300}
    record = StartWeights(**start, classes=(), taken=("trunk",), new=("nt",), n_validation_tiles_seen=n_seen)
    update = {"start": record, "tiles": {"validate": 9}}
    decoders = tuple(
        dataclasses.replace(one, header=one.header.model_copy(update=update)) if one.header.step else one
        for one in data.decoders
    )
    return dataclasses.replace(data, decoders=decoders)


def test_the_page_says_where_a_training_started_and_what_these_weights_had_seen(data: ReportData, page: str) -> None:
    unseen, seen = (render(started(data, n_seen)) for n_seen in (0, 4))

    assert "It started" not in page
    assert (
        "started from the weights of old.safetensors (split 2, family all, step 300, sha256 abababababababab)" in unseen
    )
    assert "new weights for nt (other classes)" in unseen
    assert "have seen" not in unseen
    assert "The start weights have seen 4 of 9 validation tiles" in seen


def test_final_models_are_listed_with_the_values_of_the_splits_and_without_a_test(data: ReportData, page: str) -> None:
    header = documents.header("digestive", split="final")
    about = {"final": True, "tiles": {"train": 12}, "selection": "the share 0.75 of its steps"}
    absent = documents.header("epidermal", trained=False, split="final").model_copy(update={"final": True})
    watershed = documents.watershed("digestive")
    finals = pair_finals([header.model_copy(update=about), absent], [watershed])

    with_finals = render(dataclasses.replace(data, finals=finals))
    section = with_finals.split('<section id="final">')[1].split("</section>")[0]

    assert 'id="final"' not in page
    assert "No fold was left to test them" in section
    assert "the share 0.75 of its steps" in section
    assert "0.400" in section  # AJI of split 1
    assert f"absent: {documents.REASON}" in section


def test_a_model_of_a_split_is_no_final_model() -> None:
    with pytest.raises(ContractError, match="expected final models, found hovernet of split 1"):
        pair_finals([documents.header("digestive")], [])
