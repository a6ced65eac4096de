"""What a reader wants first: does it work? In sentences that count, without adjectives."""

from collections.abc import Iterable

from cellvit.formats.documents import Value
from cellvit.report.cells import interval, number
from cellvit.report.findings import Findings
from cellvit.report.gates import gate_counts
from cellvit.report.wording import family_label, metric_of

_AGAINST = {"classical": "the classical baseline", "pooled": "one decoder for all organs"}

_COMPARED = (("aji", "classical"), ("bpq", "classical"), ("aji", "pooled"), ("bpq", "pooled"))
"""Paired differences that are counted, in the order of the sentences."""


def verdict_lines(findings: Findings) -> tuple[str, ...]:
    """Counts of what was evaluated, what beats its baselines and what passed its gates."""
    return tuple(line for line in (*_evaluated(findings), *_compared(findings), *_graded(findings)) if line)


def absent_lines(findings: Findings) -> tuple[str, ...]:
    """Everything that is missing from the report, with the reason."""
    lines = [
        f"split {evaluation.split}, {family_label(evaluation.family)}: {evaluation.reason}"
        for evaluation in findings.evaluations
        if evaluation.status == "absent"
    ]
    for decoder in findings.decoders:
        if decoder.evaluation is None and decoder.header.status == "absent":
            lines.append(
                f"split {decoder.header.split}, {family_label(decoder.header.family)}: {decoder.header.reason}"
            )
    for name, documents in (("OrganHead", findings.organ_heads), ("routed evaluation", findings.routed)):
        lines += [f"split {document.split}, {name}: {document.reason}" for document in documents if document.reason]
    for document in findings.routed:
        lines += [
            f"split {document.split}, routed evaluation: {count:,} tiles left out ({reason})"
            for reason, count in document.left_out.items()
            if count
        ]
    return tuple(lines)


def _evaluated(findings: Findings) -> Iterable[str]:
    families = [decoder.evaluation for decoder in findings.decoders if decoder.evaluation and not decoder.is_control]
    there = [result for result in families if result.status == "evaluated"]
    absent = len(families) - len(there)
    missing = f"; {absent} could not be (see below)" if absent else ""
    splits = len({result.split for result in families})
    yield (
        f"{len(there)} family decoders in {splits} {'split' if splits == 1 else 'splits'} were evaluated on test tiles "
        f"that they had not seen{missing}."
    )
    found = [(document.split, document.organ_head.get("accuracy")) for document in findings.routed]
    accuracies = [f"{_share(figure)} in split {split}" for split, figure in found if figure is not None]
    if accuracies:
        yield f"Accuracy of OrganHead on test tiles: {', '.join(accuracies)}."


def _share(figure: Value) -> str:
    ends = interval(figure)
    return f"{number(figure.value)} ({ends})" if ends else number(figure.value)


def _compared(findings: Findings) -> Iterable[str]:
    for metric, system in _COMPARED:
        found = [
            figure
            for decoder in findings.decoders
            if decoder.evaluation is not None and not decoder.is_control
            if (figure := decoder.evaluation.differences.get(f"{metric}_minus_{system}")) is not None
        ]
        if found:
            yield f"{metric_of(metric).label} of the family decoders against {_AGAINST[system]}: {_outcome(found)}."


def _outcome(differences: list[Value]) -> str:
    better = sum(figure.low > 0 for figure in differences)
    worse = sum(figure.high < 0 for figure in differences)
    counts = {"clearly better": better, "clearly worse": worse, "not clear": len(differences) - better - worse}
    parts = [f"{word} in {count} of {len(differences)}" for word, count in counts.items() if count]
    return ", ".join(parts)


def _graded(findings: Findings) -> Iterable[str]:
    counts = gate_counts(findings.summary)
    if any(counts.values()):
        yield "Graded figures: " + ", ".join(f"{count} {grade}" for grade, count in counts.items() if count) + "."
