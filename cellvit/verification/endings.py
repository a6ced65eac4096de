"""Links to the summary and the report."""

from cellvit.config.steps import step_section
from cellvit.contracts.documents import SummaryOrigin
from cellvit.io.hashing import sha256_of
from cellvit.io.origin import source_name
from cellvit.io.page import page_hash, read_page_origin
from cellvit.verification.examining import Examination
from cellvit.verification.layout import ORGAN_HEAD, decoder_of, history_of, tiles_of
from cellvit.verification.links import Link, Remedy
from cellvit.verification.run import Run, Source


def summary_link(run: Run) -> Link:
    """The summary against the evaluations, and its tables against what its origin says."""
    layout = run.layout
    exam = Examination(run, layout.summary)
    written = layout.summary.with_suffix(".json")
    origin = Examination(run, written)
    document = origin.document(SummaryOrigin, {})
    if document is not None:
        origin.sources(document.provenance, _of_splits(run) | _of_decoders(run))
        origin.settings(document.provenance.settings, step_section(run.settings, "summarize").model_dump(mode="json"))
        for path in (layout.summary, layout.summary.with_suffix(".txt")):
            expected = document.tables.get(path.name, "nothing")
            found = sha256_of(path) if path.is_file() else "no such file"
            exam.expect("sha256", expected, found, file=path)
            if expected == found:
                run.know(Source(path), found)
    exam.faults += origin.faults
    exam.waits_for += origin.waits_for
    tables = (layout.summary, layout.summary.with_suffix(".txt"), written)
    return exam.link("evaluations, watershed parameters", Remedy(tables, (layout.summary,)))


def report_link(run: Run) -> Link:
    """The page against all that it shows."""
    exam = Examination(run, run.layout.report)
    origin = exam.read(read_page_origin, "a report that says what it was made from")
    if origin is not None:
        exam.own(page_hash(run.layout.report))
        exam.sources(origin, _of_report(run))
        exam.settings(origin.settings, step_section(run.settings, "build_report").model_dump(mode="json"))
    return exam.link("summary, documents, checkpoints", Remedy((exam.product,), (exam.product,)))


def _of_splits(run: Run) -> dict[str, Source]:
    """Documents of each split."""
    return {
        source_name(name, split=split): Source(run.layout.evaluation(split, name))
        for split in run.layout.splits
        for name in ("routed", ORGAN_HEAD)
    }


def _of_decoders(run: Run) -> dict[str, Source]:
    """Documents of each decoder."""
    layout, sources = run.layout, {}
    for split, family in layout.keys:
        sources[source_name("evaluation", split=split, family=family)] = Source(layout.evaluation(split, family))
        sources[source_name("watershed", split=split, family=family)] = Source(layout.watershed(split, family))
    return sources


def _of_report(run: Run) -> dict[str, Source]:
    layout = run.layout
    sources = {"summary": Source(layout.summary), **_of_splits(run), **_of_decoders(run)}
    for split, family in layout.keys:
        checkpoint = layout.checkpoint(split, decoder_of(family))
        sources[source_name("checkpoint", split=split, family=family)] = Source(checkpoint)
        sources[source_name("history", split=split, family=family)] = Source(history_of(checkpoint))
        tiles = tiles_of(layout.evaluation(split, family))
        sources[source_name("tiles", split=split, family=family)] = Source(tiles)
    for fold in map(str, layout.folds):
        sources[source_name("summary", fold=fold)] = Source(layout.tiles(int(fold)).with_suffix(".json"))
        sources[source_name("check", fold=fold)] = Source(layout.feature_check(int(fold)))
    return sources | {
        source_name("check", family=family): Source(layout.target_check(family)) for family in layout.families
    }
