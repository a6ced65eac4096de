import dataclasses
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from cellvit.formats.documents import Document
from cellvit.formats.evaluations import FamilyEvaluation
from cellvit.formats.provenance import Provenance
from cellvit.report.findings import Findings
from cellvit.report.gallery import Gallery
from cellvit.report.page import render

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Reader(HTMLParser):
    """Collects tags with their attributes and checks that every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def page(findings: Findings) -> str:
    return render(findings, [Gallery("1", "digestive", (), "No test tile of this family has a nucleus.")])


def test_page_opens_offline_and_needs_no_script(page: str) -> None:
    reader = read(page)

    assert not {"script", "link", "iframe"} & {tag for tag, _ in reader.tags}
    sources = [attributes["src"] or "" for tag, attributes in reader.tags if tag == "img"]
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert not re.search(r"https?://(?!huggingface\.co)|@import|url\(", page)


def test_same_findings_give_the_same_bytes(findings: Findings, page: str) -> None:
    again = render(findings, [Gallery("1", "digestive", (), "No test tile of this family has a nucleus.")])

    assert again == page


def test_marks_stand_in_title_and_banner(page: str) -> None:
    assert "SIMULATED DATA · UNTRAINED ENCODER" in page
    assert "say nothing about tissue" in page
    assert re.search(r"<title>[^<]*simulated data, untrained encoder", page)


def test_real_data_have_no_banner(findings: Findings) -> None:
    def real(document: Document) -> Document:
        return document.model_copy(update={"provenance": Provenance()})

    decoders = tuple(
        dataclasses.replace(
            decoder, header=real(decoder.header), evaluation=decoder.evaluation and real(decoder.evaluation)
        )
        for decoder in findings.decoders
    )
    plain = dataclasses.replace(
        findings,
        decoders=decoders,
        **{
            name: tuple(map(real, getattr(findings, name)))
            for name in ("routed", "organ_heads", "target_checks", "feature_checks", "fold_summaries")
        },
    )

    assert 'class="banner"' not in render(plain, [])


def test_images_have_texts_tables_have_scopes_and_headings_descend(page: str) -> None:
    reader = read(page)

    assert all(attributes.get("alt") for tag, attributes in reader.tags if tag == "img")
    assert all(attributes.get("scope") for tag, attributes in reader.tags if tag == "th")
    assert [tag for tag, _ in reader.tags].count("h1") == 1
    assert [attributes["lang"] for tag, attributes in reader.tags if tag == "html"] == ["en"]


def test_links_inside_the_page_lead_somewhere(page: str) -> None:
    reader = read(page)

    ids = {attributes.get("id") for _, attributes in reader.tags}
    targets = {(attributes["href"] or "")[1:] for tag, attributes in reader.tags if tag == "a"}
    assert targets
    assert targets <= ids


def test_page_says_what_the_reader_must_know(page: str) -> None:
    for said in (
        "no tiles of Skin in training fold 1",
        "undefined (n = 0)",
        "CC BY-NC-SA",
        "training.loss.hv_magnitude",
        "Calibration error (ECE)",
        "Settings in full",
        "cellvit-optimus 0",
        "then over organs",
        "epoch 4 was kept",
    ):
        assert said in page, said


def test_names_from_data_are_escaped(findings: Findings) -> None:
    routed = findings.routed[0].model_copy(update={"left_out": {"<script>alert(1)</script>": 1}})

    page = render(dataclasses.replace(findings, routed=(routed,)), [])

    assert "<script>" not in page


def test_page_without_anything_evaluated_still_says_so(findings: Findings) -> None:
    bare = dataclasses.replace(
        findings,
        summary=(),
        decoders=findings.decoders[1:2],
        routed=(),
        organ_heads=(),
        fold_summaries=(),
        feature_checks=(),
        timings=(),
    )

    page = render(bare, [])

    assert "0 family decoders in 1 split were evaluated" in page
    assert "no tiles of Skin" in page


def test_page_of_a_single_patient_has_values_without_intervals(findings: Findings) -> None:
    decoder = findings.decoders[0]
    assert decoder.evaluation is not None
    values = decoder.evaluation.model_dump()
    single = FamilyEvaluation.model_validate(_without_intervals(values) | {"n_patients": 1})

    page = render(dataclasses.replace(findings, decoders=(dataclasses.replace(decoder, evaluation=single),)), [])

    assert "no interval, because all tiles are of one patient" in page
    assert "not clear in 1 of 1" in page


def _without_intervals(part: dict[str, Any]) -> dict[str, Any]:
    found = {key: _without_intervals(value) if isinstance(value, dict) else value for key, value in part.items()}
    return found | {"low": None, "high": None} if "low" in found else found
