"""The first section of the page: does it work? Sentences that count, and a list of what is absent."""

from collections.abc import Iterable, Sequence

from cellvit.formats.documents import Value
from cellvit.report.cells import interval, number
from cellvit.report.data import ReportData
from cellvit.report.gates import gate_counts
from cellvit.report.wording import counted, family_label, metric_of

_COMPARED = (
    ("aji", "classical", "the classical baseline"),
    ("bpq", "classical", "the classical baseline"),
    ("aji", "shared", "the shared decoder"),
    ("bpq", "shared", "the shared decoder"),
)
"""Paired differences that are counted, in the order of the sentences: metric, other system and its name."""


def verdict_lines(data: ReportData) -> tuple[str, ...]:
    """Counts of what was evaluated, what beats its baselines and what passed its quality gate."""
    counts = ", ".join(f"{count} {grade}" for grade, count in gate_counts(data.summary).items() if count)
    return (*_evaluated(data), *_compared(data), *([f"Graded values: {counts}."] if counts else []))


def absent_lines(data: ReportData) -> tuple[str, ...]:
    """Everything that is absent from the report, with the reason."""
    lines = []
    for decoder in data.decoders:
        document = decoder.evaluation or decoder.header
        if document.status == "absent":
            lines.append(f"split {document.split}, {family_label(document.family)}: {document.reason}")
    for name, documents in (("OrganHead", data.organ_heads), ("routed evaluation", data.routed)):
        lines += [f"split {document.split}, {name}: {document.reason}" for document in documents if document.reason]
    for routed in data.routed:
        lines += [
            f"split {routed.split}, routed evaluation: {counted(count, 'tile')} left out ({reason})"
            for reason, count in routed.left_out.items()
            if count
        ]
    return tuple(lines)


def _evaluated(data: ReportData) -> Iterable[str]:
    families = [decoder.evaluation for decoder in data.decoders if decoder.evaluation and not decoder.is_shared]
    absent = sum(one.status == "absent" for one in families)
    splits = counted(len({one.split for one in families}), "split")
    missing = f"; {absent} could not be evaluated (see below)" if absent else ""
    yield f"{len(families) - absent} family decoders in {splits} were evaluated on unseen test tiles{missing}."
    accuracies = [(one.split, one.organ_head["accuracy"]) for one in data.routed if "accuracy" in one.organ_head]
    if accuracies:
        shown = ", ".join(f"{_with_interval(value)} in split {split}" for split, value in accuracies)
        yield f"Accuracy of OrganHead on test tiles: {shown}."


def _with_interval(value: Value) -> str:
    ends = interval(value)
    return f"{number(value.value)} ({ends})" if ends else number(value.value)


def _compared(data: ReportData) -> Iterable[str]:
    evaluations = [decoder.evaluation for decoder in data.decoders if decoder.evaluation and not decoder.is_shared]
    for metric, system, name in _COMPARED:
        key = f"{metric}_minus_{system}"
        found = [one.differences[key] for one in evaluations if key in one.differences]
        if found:
            yield f"{metric_of(metric).label} of the family decoders against {name}: {_outcome(found)}."


def _outcome(differences: Sequence[Value]) -> str:
    better = sum(value.low > 0 for value in differences)
    worse = sum(value.high < 0 for value in differences)
    counts = {"clearly better": better, "clearly worse": worse, "not clear": len(differences) - better - worse}
    return ", ".join(f"{word} in {count} of {len(differences)}" for word, count in counts.items() if count)
