"""Which decoder for which organ: the conclusion in sentences, and a table of both decoders on validation and test tiles."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from cellvit.evaluation.decoder_choice import MIN_TILES
from cellvit.formats.evaluations import DecoderChoice, RoutedEvaluation
from cellvit.metrics.intervals import LEVEL, MIN_UNITS, holm, p_value
from cellvit.report.cells import Cell, Row, Table, value_cell
from cellvit.report.results import lead
from cellvit.report.wording import counted, metric_of
from cellvit.taxonomy import SHARED_FAMILY

_REASONS: Final = {
    "organ": "by the validation tiles of the organ",
    "family": f"by the validation tiles of the family (fewer than {MIN_TILES} of the organ)",
    "setting": "routing.decoder: family",
    "undefined": "no validation tile compares both",
    "alone": "no other decoder was trained",
}
"""Why a decoder is used, by `DecoderChoice.chosen_by`."""

_BRIEFLY: Final = {
    "organ": "by its own tiles",
    "family": "by the family's tiles",
    "setting": "by the setting",
    "undefined": "not compared",
    "alone": "no other decoder",
}
"""The same for a narrow column; the note of the table explains it."""

_SHARED: Final = "the shared decoder"
_OWN: Final = "the decoder of the family"
_BY_VALIDATION: Final = "the one that is better on validation tiles"


class _Judged(NamedTuple):
    """A choice of one split, and the decoder that is clearly better on the organ's test tiles; empty if neither is."""

    split: str
    choice: DecoderChoice
    better: str


def decoder_lines(routed: Iterable[RoutedEvaluation]) -> tuple[str, ...]:
    """Which decoder to use for which organ, in sentences; none without a routed evaluation."""
    judged = _judged([(one.split, choice) for one in routed for choice in one.decoders])
    if not judged:
        return ()
    compared = [one for one in judged if one.choice.test is not None]
    lines = [*_conclusion(compared), *_alone(judged), *_otherwise(compared)]
    if compared:
        metrics = " or ".join(dict.fromkeys(metric_of(one.choice.metric).label for one in compared))
        lines.append(
            f"Clearly: the p-value of the difference of {metrics}, paired by tile, is below 5 % after Holm's correction for "
            f"{counted(len(compared), 'comparison')} (one for each organ and split). Single organs have fewer tiles than whole "
            f"families, so that less is clear here; without an interval (fewer than {MIN_UNITS} patients or tiles) nothing is. "
            "The test tiles took no part in the choice."
        )
    return tuple(lines)


def recommendations(routed: Iterable[RoutedEvaluation]) -> tuple[str, ...]:
    """What to do about the shared decoder: for which organs to use it, and whether a decoder for each family is worth it."""
    judged = _judged([(one.split, choice) for one in routed for choice in one.decoders])
    compared = [one for one in judged if one.choice.test is not None]
    return (*_conclusion(compared), *_worth(compared)) if judged else ()


def decoder_table(routed: RoutedEvaluation) -> Table:
    """Both decoders on the validation tiles of each organ, what the run uses, and their difference on the test tiles."""
    rows: list[Row] = []
    family = ""
    for choice in routed.decoders:
        cells = (
            value_cell(choice.own),
            value_cell(choice.shared),
            lead(choice.difference),
            Cell(_column_name(choice.decoder), interval=_BRIEFLY[choice.chosen_by] if choice.decoder else ""),
            lead(choice.test),
        )
        group = choice.family if choice.family != family else ""
        rows.append(
            Row(_organ(choice), cells, note=metric_of(choice.metric).label if choice.metric else "", group=group)
        )
        family = choice.family
    columns = ("Validation: family", "Validation: shared", "Validation: difference", "Used", "Test: difference")
    note = (
        "Difference: the decoder of the family minus the shared one, paired by tile; green (red) where the interval of this "
        "difference alone is above (below) 0. n counts the tiles of the organ that both define. Both decoders were selected "
        "and tuned on these validation tiles, so that their values are slightly too good; only the comparison is used. Used: by "
        f"the organ's own validation tiles; by those of the whole family where the organ has fewer than {MIN_TILES}; or by "
        "routing.decoder: family."
    )
    return Table(f"Split {routed.split}", "Family and organ", columns, tuple(rows), note, "results headline")


def _judged(choices: Sequence[tuple[str, DecoderChoice]]) -> list[_Judged]:
    """The choices with what is clear on test tiles after Holm's correction for all of them together."""
    tests = [choice.test for _, choice in choices if choice.test is not None]
    adjusted = iter(holm([p_value(one.value, one.low, one.high, one.units) for one in tests]))
    judged = []
    for split, choice in choices:
        better = ""
        if choice.test is not None and next(adjusted) < 1 - LEVEL:
            better = choice.family if choice.test.value > 0 else SHARED_FAMILY
        judged.append(_Judged(split, choice, better))
    return judged


def _conclusion(compared: Sequence[_Judged]) -> Iterator[str]:
    """Use this decoder for these organs; for the others the run relies on the validation tiles."""
    if not compared:
        yield "The shared decoder and those of the families cannot be compared: no test tile was scored by both."
        return
    found: dict[str, set[str]] = {_organ(one.choice): set() for one in compared}
    for one in compared:
        if one.better:
            found[_organ(one.choice)].add(_name(one.better))
    for name in (_SHARED, _OWN):
        if organs := [organ for organ, better in found.items() if better == {name}]:
            yield f"Use {name} for {listed(organs)}: it is clearly better there on test tiles."
    others = [organ for organ, better in found.items() if len(better) != 1]
    if others:
        reasons = {one.choice.chosen_by for one in compared if _organ(one.choice) in others}
        used = f"{_OWN} ({_REASONS[reasons.pop()]})" if reasons in ({"setting"}, {"undefined"}) else _BY_VALIDATION
        named = listed(others) if len(others) < len(found) or len(found) == 1 else f"all {len(found)} organs"
        yield f"For {named}, the two decoders do not differ clearly on test tiles, and the run uses {used}."


def _worth(compared: Sequence[_Judged]) -> Iterator[str]:
    """Whether to train a decoder for each family at all."""
    better = {one.better for one in compared} - {""}
    if not compared or better - {SHARED_FAMILY}:
        return
    if better:
        yield (
            "For no organ is the decoder of its family clearly better than the shared one: train the shared decoder alone "
            "(families: null in the settings). That takes one training in place of one for each family."
        )
    elif all(one.choice.test is not None and one.choice.test.units < MIN_UNITS for one in compared):
        yield f"Whether one decoder is enough cannot be said: every organ has fewer than {MIN_UNITS} test patients (or tiles)."
    else:
        yield (
            "These test tiles do not show that a decoder for each family is worth its training: families: null trains the "
            "shared one alone. More test patients would show which is better."
        )


def _alone(judged: Sequence[_Judged]) -> Iterator[str]:
    """Organs that have the shared decoder because that of their family could not be trained."""
    alone: dict[str, list[str]] = {}
    for split, choice, _ in judged:
        if choice.chosen_by == "alone" and choice.decoder == SHARED_FAMILY:
            alone.setdefault(split, []).append(_organ(choice))
    for split, organs in alone.items():
        yield f"Split {split}: the run uses {_SHARED} for {listed(organs)}, because {_OWN} could not be trained."


def _otherwise(compared: Sequence[_Judged]) -> Iterator[str]:
    """Where the run uses the decoder that turned out to be clearly worse, and why."""
    for split, choice, better in compared:
        if better not in ("", choice.decoder):
            yield (
                f"Split {split}, {_organ(choice)}: the run uses {_name(choice.decoder)} although {_name(better)} is clearly "
                f"better on test tiles ({_REASONS[choice.chosen_by]})."
            )


def listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them.

    Examples:
        >>> listed(["Colon"]), listed(["Colon", "Skin", "Liver"])
        ('Colon', 'Colon, Skin and Liver')
    """
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _organ(choice: DecoderChoice) -> str:
    return choice.organ.replace("_", " ")


def _column_name(decoder: str) -> str:
    return ("shared" if decoder == SHARED_FAMILY else "family") if decoder else "none"


def _name(decoder: str) -> str:
    if not decoder:
        return "none"
    return _SHARED if decoder == SHARED_FAMILY else _OWN
