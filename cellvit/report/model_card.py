"""Model card of a bundle: README.md, as people and the Hugging Face hub read it."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from cellvit.config.encoders import PUBLISHED, RANDOM, EncoderSettings
from cellvit.evaluation.summary import ORGAN_HEAD
from cellvit.formats.bundle import BundleDocument
from cellvit.formats.calibration import ALL_CLASSES, DecoderCalibration
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.evaluations import ORGAN_PREDICTED
from cellvit.formats.novelty import NoveltyHeader
from cellvit.formats.summary import MEAN_SPLIT, SummaryRow
from cellvit.report.cells import number, range_cell
from cellvit.report.wording import counted, family_label, metric_of
from cellvit.taxonomy import ONE_DECODER, SHARED_FAMILY

_METRICS: Final = ("bpq", "mpq", "aji", "organ_accuracy")
"""Metrics of summary.csv that the card shows."""

_LIMITS: Final = (
    "For research only. This is not a medical device: do not use it for diagnosis or treatment.",
    "The models were trained on H&E stained tissue. Other stains give nuclei and classes that mean nothing.",
    "Another laboratory, scanner, stain protocol or section thickness may lower the quality. Compare predictions with your own "
    "annotation before you use the numbers.",
    "Organs that did not train a decoder are decoded all the same. Nobody has measured how well.",
    "Intervals of counts hold for images that resemble the validation images. They say nothing about other images.",
)


@dataclass(frozen=True, slots=True)
class CardData:
    """What the card is made from.

    Attributes:
        decoders: Header of each decoder of the run by its family, also of those that could not be trained.
        organ_head: None without organs.
        calibrations: By family.
        novelty: Which tiles are unlike the training data; None if that is not known.
        summary: Rows of summary.csv of the whole run.
    """

    document: BundleDocument
    decoders: Mapping[str, CheckpointHeader]
    organ_head: CheckpointHeader | None
    calibrations: Mapping[str, DecoderCalibration]
    novelty: NoveltyHeader | None
    summary: Sequence[SummaryRow]


def model_card(data: CardData) -> str:
    """The card as Markdown, with the front matter that the hub reads."""
    document = data.document
    parts = [
        _front_matter(data),
        f"# {_plain(document.name)}: nuclei in H&E images",
        *_notices(document),
        *_section("What it is", _what(data)),
        *_section("Data", _data(data)),
        *_section("Metrics", _metrics(data)),
        *_section("Doubt", _doubt(data)),
        *_section(
            "Licences", [_plain(document.licence), f"Data: {_plain(document.dataset.licence or 'licence not known')}."]
        ),
        *_section("Intended use", _INTENDED),
        *_section("Limits", [_bullets(_LIMITS)]),
        *_section("How to use it", _use()),
        *_section("The encoder", _encoder(document)),
    ]
    return "\n\n".join(parts) + "\n"


_INTENDED: Final = (
    "To find nuclei in H&E images and slides, to outline and classify them, to count them, and to correct the result in QuPath; "
    "also as the start of a training on own tiles (`training.start_from`).",
)


def _front_matter(data: CardData) -> str:
    """What the hub reads: https://huggingface.co/docs/hub/model-cards describes the fields."""
    document = data.document
    encoder = EncoderSettings.model_validate(document.encoder["encoder"])
    of_hub = encoder.weights != RANDOM and encoder.spec.name.startswith("hf-hub:")
    fields = {
        "license": "other",
        "license_name": "those-of-data-and-encoder",
        "license_link": "README.md#licences",
        "library_name": "cellvit-optimus",
        "pipeline_tag": "image-segmentation",
        "tags": ["histopathology", "nuclei-segmentation", "nuclei-classification", "hovernet", "qupath"],
        "datasets": [re.sub(r"[^a-z0-9._-]+", "-", document.dataset.name.lower()).strip("-.") or "own"],
        "metrics": [name for name in _METRICS if any(row.metric == name for row in data.summary)],
        **({"base_model": encoder.spec.name.removeprefix("hf-hub:")} if of_hub else {}),
    }
    return f"---\n{yaml.safe_dump(fields, sort_keys=False)}---"


def _notices(document: BundleDocument) -> Iterator[str]:
    if document.provenance.marks:
        marks = ", ".join(document.provenance.marks)
        meaning = (
            "The predictions show that the software runs. They say nothing about tissue."
            if document.provenance.simulated
            else "The features are not those of a foundation model of pathology."
        )
        yield f"> **Marked: {_plain(marks)}.** {meaning}"
    if document.commercial_use is False:
        yield "> **Not for commercial use**, neither the models nor their predictions. See the licences below."
    yield "> **Research use only.** Not a medical device."


def _what(data: CardData) -> Iterator[str]:
    document, data_set = data.document, data.document.dataset
    encoder = EncoderSettings.model_validate(document.encoder["encoder"])
    head = " OrganHead predicts the organ of an image, which chooses the decoder." if data.organ_head else ""
    yield (
        f"{counted(len(document.decoders), 'HoVer-Net decoder')} on the features of a frozen encoder ({_plain(encoder.preset)}), "
        f"for images at {data_set.mpp:g} µm per pixel.{head} The weights of the encoder are not part of this folder."
    )
    yield _table(("Class", "Colour"), [(entry.name, entry.color) for entry in data_set.classes])
    rows = [
        (_label(document, family), ", ".join(organs) or "not known", *map(str, _tiles(data.decoders[family])))
        for family, organs in document.decoders.items()
    ]
    yield _table(("Decoder", "Organs", "Training tiles", "Validation tiles"), rows)
    absent = [
        f"{family_label(family)}: {header.reason}"
        for family, header in data.decoders.items()
        if header.status == "absent"
    ]
    if absent:
        yield f"Decoders that could not be trained: {_plain('; '.join(absent))}."
    if document.decoder_of:
        default = _label(document, document.default_decoder)
        yield f"Images of an organ that is not known or not listed are decoded by: {_plain(default)}."


def _tiles(header: CheckpointHeader) -> tuple[int, int]:
    return header.tiles.get("train", 0), header.tiles.get("validate", 0)


def _data(data: CardData) -> Iterator[str]:
    document = data.document
    roles = {"train": "trained the models", "validate": "selected weights, decoding and calibration"}
    seen = [
        f"fold {', '.join(map(str, folds))} {roles.get(role, role)}" for role, folds in document.folds.items() if folds
    ]
    yield f"{_plain(document.dataset.name)}: {'; '.join(seen)}. No other fold was seen."
    sources = sorted({source for header in data.decoders.values() for source in header.sources if source})
    if sources:
        yield f"Sources of the training tiles: {_plain(', '.join(sources))}."
    started = sorted({header.start.file for header in data.decoders.values() if header.start})
    if started:
        yield f"The training started from the weights of {_plain(', '.join(started))}."


def _metrics(data: CardData) -> Iterator[str]:
    document = data.document
    split = document.split
    if document.final:
        splits = {row.split for row in data.summary}
        split = MEAN_SPLIT if MEAN_SPLIT in splits else next(iter(sorted(splits)), "")
        yield (
            "**These models have no metrics of their own:** they were trained on all folds, and no fold was left to test them. "
            "The models of the splits were trained in the same way on fewer folds. Their values are the estimate: "
            + ("mean over the splits, with their range." if split == MEAN_SPLIT else f"test tiles of split {split}.")
        )
    else:
        yield f"On the test tiles of split {split}, which these models have not seen, with 95 % intervals."
    families = [*document.decoders, ORGAN_PREDICTED, ORGAN_HEAD]
    rows = [
        (_label(document, row.family), metric_of(row.metric).label, *_value(row))
        for family in families
        for row in data.summary
        if (row.split, row.family) == (split, family) and row.metric in _METRICS
    ]
    yield _table(("Model", "Metric", "Value", "Range" if split == MEAN_SPLIT else "95 % interval", "n"), rows)


def _value(row: SummaryRow) -> tuple[str, str, str]:
    cell = range_cell(row)
    return cell.text, cell.interval or "no interval", counted(row.n, "split" if row.split == MEAN_SPLIT else "tile")


def _doubt(data: CardData) -> Iterator[str]:
    yield from _calibration(data)
    yield from _unlike(data.novelty)


def _calibration(data: CardData) -> Iterator[str]:
    if not data.calibrations:
        yield "The models are not calibrated: probabilities of classes are those of the decoders, and counts have no intervals."
        return
    where = "the test tiles of all splits" if data.document.final else "the test tiles"
    yield (
        "Probabilities of classes are calibrated with one temperature for each decoder. ECE is the expected calibration error "
        "of these probabilities, without and with the temperature. Counts of nuclei have intervals; their coverage is how often "
        f"the true count lay in the interval. Both were measured on {where}."
    )
    rows = [_calibration_row(data.document, family, found) for family, found in data.calibrations.items()]
    yield _table(("Decoder", "Temperature", "ECE before", "ECE after", "Nuclei", "Stated coverage", "Coverage"), rows)


def _unlike(novelty: NoveltyHeader | None) -> Iterator[str]:
    if novelty is None or novelty.status == "absent":
        yield "Nothing in this folder tells which tiles are unlike the training tiles."
        return
    text = (
        "A prediction marks tiles whose features are unlike those of the training tiles (Mahalanobis distance above "
        f"{novelty.threshold:.2f})."
    )
    tested = [share for share in novelty.shares if share.role == "test" and not share.organ]
    yield text + "".join(f" Of the {counted(one.n, 'test tile')}, {one.n_flagged:,} were marked." for one in tested)


def _calibration_row(document: BundleDocument, family: str, found: DecoderCalibration) -> tuple[str, ...]:
    overall = next((bound for bound in found.counts if bound.class_name == ALL_CLASSES), None)
    tested = overall is not None and overall.test_n > 0
    return (
        _label(document, family),
        f"{found.temperature:.2f}" if found.status == "fitted" else "not fitted",
        number(found.before.error) if found.before else "-",
        number(found.after.error) if found.after else "-",
        str(found.after.n) if found.after else "-",
        f"{100 * found.level:g} %" if overall and not math.isnan(overall.share) else "no intervals",
        f"{overall.test_covered} of {counted(overall.test_n, found.unit)}" if overall and tested else "not tested",
    )


def _use() -> Iterator[str]:
    yield "Install cellvit-optimus as its README says, then:"
    yield (
        "```\n"
        "cellvit predict IMAGE --model THIS_FOLDER --out predictions\n"
        "cellvit predict IMAGE --model hf-hub:OWNER/NAME --out predictions\n"
        "```"
    )
    yield "`predictions/` then has outlines that QuPath opens, a table of nuclei, counts, an overlay and a report for each image."


def _encoder(document: BundleDocument) -> Iterator[str]:
    encoder = EncoderSettings.model_validate(document.encoder["encoder"])
    spec, digest = encoder.spec, document.encoder_sha256
    if encoder.weights == RANDOM:
        yield f"{_plain(encoder.preset)} with random weights, which are made again from the seed {encoder.seed}."
    elif encoder.weights == PUBLISHED and spec.package:
        yield f"The weights of {_plain(encoder.preset)} are in the Python package {spec.package}, which is installed with the software."
    elif encoder.weights == PUBLISHED:
        page = spec.page or f"https://huggingface.co/{spec.name.removeprefix('hf-hub:')}"
        yield (
            f"The weights of {_plain(encoder.preset)} come from the Hugging Face hub at the first prediction. Request access on "
            f"{page} first, and log in with `hf auth login`."
        )
    else:
        yield f"The models were trained with a local file of the weights of {_plain(encoder.preset)}, which is not part of this folder."
    if document.encoder_licence:
        yield f"Licence of the encoder: {_plain(document.encoder_licence)}."
    if digest:
        yield f"sha256 of the file of the weights: `{digest}`. Weights with another digest are refused."


def _section(title: str, paragraphs: Iterable[str]) -> list[str]:
    return [f"## {title}", *paragraphs]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "No values."
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_plain, line))} |" for line in lines)


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _label(document: BundleDocument, family: str) -> str:
    """What a family is called in the card: the only decoder of a bundle is just the decoder."""
    only = family == SHARED_FAMILY and set(document.decoders) == {SHARED_FAMILY}
    return family_label(ONE_DECODER if only else family)


def _plain(text: Any) -> str:
    """Text of a user that neither begins a cell of a table nor an element of HTML."""
    return re.sub(r"\s+", " ", str(text)).replace("|", "\\|").replace("<", "&lt;")
