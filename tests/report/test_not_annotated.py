"""The report says how much is not annotated, and shows it; a run without such pixels has no word about it."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from cellvit.evaluation.images import hatched
from cellvit.formats.tiles import NotAnnotated
from cellvit.report import integrity, verdict
from cellvit.report.data import Decoder, ReportData
from cellvit.report.page import render

MISSING = NotAnnotated(share=0.125, n_partly=2_000, n_wholly=1)
SENTENCE = (
    "12.5% of the pixels are not annotated and count nowhere (2,000 tiles in part; 1 tile wholly, which is not scored)."
)


@pytest.fixture
def partly(data: ReportData) -> ReportData:
    """The run with missing annotations in every document that counts them, and a hatched tile in its gallery."""

    def changed(document):
        return document.model_copy(update={"not_annotated": MISSING})

    def with_hatch(decoder: Decoder) -> Decoder:
        if decoder.evaluation is None or decoder.evaluation.status == "absent" or decoder.gallery is None:
            return decoder
        first, *others = decoder.gallery.tiles
        tiles = (first.model_copy(update={"not_annotated": 0.25}), *others)
        gallery = decoder.gallery.model_copy(update={"tiles": tiles})
        return dataclasses.replace(decoder, evaluation=changed(decoder.evaluation), gallery=gallery)

    return dataclasses.replace(
        data,
        decoders=tuple(map(with_hatch, data.decoders)),
        routed=tuple(map(changed, data.routed)),
        target_checks=tuple(map(changed, data.target_checks)),
        fold_summaries=tuple(map(changed, data.fold_summaries)),
    )


def test_folds_and_targets_have_a_column_of_what_is_not_annotated(partly: ReportData, data: ReportData) -> None:
    for table, plain in (
        (integrity.fold_table(partly.fold_summaries), integrity.fold_table(data.fold_summaries)),
        (integrity.target_table(partly.target_checks), integrity.target_table(data.target_checks)),
    ):
        cell = table.rows[0].cells[table.columns.index("Not annotated")]
        assert (cell.text, cell.n, cell.hint) == ("12.5%", "2,000 tiles in part, 1 wholly", SENTENCE)
        assert table.note.endswith("Pixels that are not annotated are in no share and in no value.")
        assert "Not annotated" not in plain.columns


def test_the_page_says_what_is_not_scored_and_explains_the_hatching(partly: ReportData, data: ReportData) -> None:
    page, plain = render(partly), render(data)

    assert page.count(SENTENCE) >= 3  # the family, the shared decoder, all tiles
    assert "Not annotated: counts nowhere." in page
    assert "25.0% not annotated;" in page
    assert "not annotated" not in plain.lower()


def test_tiles_that_are_not_scored_are_among_what_is_absent(partly: ReportData) -> None:
    lines = verdict.absent_lines(partly)

    assert "split 1, routed evaluation: 1 test tile not scored (no pixel is annotated)" in lines
    assert sum(line.endswith("1 test tile not scored (no pixel is annotated)") for line in lines) == 3


def test_stripes_are_where_nothing_is_annotated_and_leave_most_of_the_tissue_visible() -> None:
    image = np.full((64, 64, 3), (200, 120, 180), np.uint8)
    annotated = np.zeros((64, 64), bool)
    annotated[:, :32] = True

    striped = (hatched(image, annotated) != image).any(axis=2)

    assert not striped[annotated].any()
    assert striped[~annotated].mean() == pytest.approx(0.25)
    assert np.array_equal(hatched(image, np.ones((64, 64), bool)), image)
    assert Image.fromarray(hatched(image, annotated)).getpixel((36, 4)) == (128, 128, 128)
