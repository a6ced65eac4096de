import dataclasses
from typing import Any

import run_documents as documents

from cellvit.formats.documents import Value
from cellvit.formats.evaluations import DecoderChoice, RoutedEvaluation
from cellvit.report.data import ReportData
from cellvit.report.decoders import decoder_lines, decoder_table
from cellvit.report.page import render


def difference(value: float, half: float = 0.02) -> Value:
    return Value(value=value, low=value - half, high=value + half, n=40, units=10)


def choice(organ: str, test: Value | None, **changes: Any) -> DecoderChoice:
    of = {"organ": organ, "family": "digestive", "decoder": "digestive", "chosen_by": "organ", "metric": "bpq"}
    return DecoderChoice(**of | {"test": test} | changes)


def routed(*choices: DecoderChoice, split: str = "1") -> RoutedEvaluation:
    return documents.ROUTED.model_copy(update={"decoders": choices, "split": split})


def test_sentences_name_the_organs_of_each_decoder_and_those_that_are_not_clear() -> None:
    lines = decoder_lines(
        [
            routed(
                choice("Colon", difference(-0.1), decoder="all"),
                choice("Bile-duct", difference(-0.1), decoder="all"),
                choice("Stomach", difference(0.1)),
                choice("Esophagus", difference(0.01)),
            )
        ]
    )

    assert lines[:3] == (
        "Use the shared decoder for Colon and Bile-duct: it is clearly better there on test tiles.",
        "Use the decoder of the family for Stomach: it is clearly better there on test tiles.",
        "For Esophagus, the two decoders do not differ clearly on test tiles, and the run uses the one that is better on "
        "validation tiles.",
    )
    assert "the difference of bPQ" in lines[3]
    assert "Holm's correction for 4 comparisons" in lines[3]


def test_a_difference_that_many_comparisons_explain_is_not_clear() -> None:
    weak = difference(-0.0205)  # p just below 0.05 alone
    alone = decoder_lines([routed(choice("Colon", weak, decoder="all"))])
    among_others = decoder_lines(
        [
            routed(
                choice("Colon", weak, decoder="all"), *(choice(organ, difference(0.0)) for organ in ("Stomach", "Skin"))
            )
        ]
    )

    assert alone[0].startswith("Use the shared decoder for Colon")
    assert among_others[0].startswith("For all 3 organs, the two decoders do not differ clearly")


def test_the_sentences_say_where_the_run_uses_the_other_decoder_and_why() -> None:
    lines = decoder_lines([routed(choice("Colon", difference(-0.1), chosen_by="setting"), split="2")])

    assert lines[1] == (
        "Split 2, Colon: the run uses the decoder of the family although the shared decoder is clearly better on test tiles "
        "(routing.decoder: family)."
    )


def test_without_intervals_nothing_is_clear_and_without_both_decoders_nothing_is_compared() -> None:
    few = decoder_lines([routed(choice("Colon", Value(value=-0.3, n=4, units=2)))])
    alone = decoder_lines([routed(choice("Colon", None, decoder="all", chosen_by="alone"))])

    assert few[0].startswith("For Colon, the two decoders do not differ clearly")
    assert alone == (
        "The shared decoder and those of the families cannot be compared: no test tile was scored by both.",
        "Split 1: the run uses the shared decoder for Colon, because the decoder of the family could not be trained.",
    )
    assert decoder_lines([]) == decoder_lines([documents.ROUTED]) == ()


def test_the_table_shows_both_decoders_what_is_used_and_the_test(data: ReportData) -> None:
    values = {"own": Value(value=0.4, n=30), "shared": Value(value=0.5, n=30), "difference": difference(-0.1)}
    colon = choice("Colon", difference(-0.05), decoder="all", **values)

    table = decoder_table(routed(colon, choice("Stomach", None, chosen_by="family")))

    cells = {row.heading: row.cells for row in table.rows}
    assert [cell.text for cell in cells["Colon"]] == ["0.400", "0.500", "-0.100", "shared", "-0.050"]
    assert [cell.text for cell in cells["Stomach"]] == [
        "\u2013",
        "\u2013",
        "\u2013",
        "family",
        "\u2013",
    ]
    assert cells["Stomach"][3].interval == "by the family's tiles"
    assert "fewer than 10" in table.note
    assert [row.group for row in table.rows] == ["digestive", ""]


def test_the_page_has_the_section_where_decoders_were_chosen(data: ReportData) -> None:
    with_choices = dataclasses.replace(data, routed=(routed(choice("Colon", difference(-0.1), decoder="all")),))

    assert "Use the shared decoder for Colon" in render(with_choices)
    assert 'id="decoders"' not in render(data)
