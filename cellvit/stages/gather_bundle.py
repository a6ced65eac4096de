"""Stage `gather_bundle`: trained models with all that their use needs -> one folder that can be copied."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cellvit.config.data import FINAL_SPLIT
from cellvit.config.encoders import EncoderSettings
from cellvit.config.steps import GatherBundleSettings
from cellvit.errors import ContractError
from cellvit.evaluation.bundled_decoders import decoders_of_organs, default_decoder, trained_decoders
from cellvit.evaluation.licences import licences_of
from cellvit.formats.bundle import (
    NOVELTY_NAME,
    ORGAN_HEAD_NAME,
    BundleDocument,
    calibration_name,
    checkpoint_name,
    read_bundle,
    watershed_name,
    write_bundle,
)
from cellvit.formats.calibration import DecoderCalibration
from cellvit.formats.checkpoints import CheckpointHeader, read_header
from cellvit.formats.content import provenance_of
from cellvit.formats.digests import check_table
from cellvit.formats.documents import read_document
from cellvit.formats.evaluations import RoutedEvaluation
from cellvit.formats.features import WEIGHTS, FeatureCheck
from cellvit.formats.novelty import read_novelty_header
from cellvit.formats.summary import SummaryOrigin, read_summary
from cellvit.formats.watershed import WatershedChoice
from cellvit.inference.blocks import ENCODER_SECTIONS
from cellvit.report.model_card import CardData, model_card
from cellvit.workflow.arguments import Code, Input, Output, Setting

log = logging.getLogger(__name__)

Paths = tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes. Lists may be in any order."""

    settings: Annotated[GatherBundleSettings, Setting("JSON: organs of each decoder")]
    split: Annotated[str, Setting("name of the split; final for the final models")]
    checkpoints: Annotated[Paths, Input("decoders")]
    watersheds: Annotated[Paths, Input("decoding parameters of each decoder")]
    calibrations: Annotated[Paths, Input("calibration of each decoder")] = ()
    novelty: Annotated[Path | None, Input("which features are unlike those of the training tiles")] = None
    organ_head: Annotated[Path | None, Input("OrganHead, where there are organs to choose from")] = None
    routed: Annotated[
        Paths, Input("evaluations that chose the decoder of each organ; of all splits for final models")
    ] = ()
    feature_checks: Annotated[Paths, Input("checks of the features, which name the weights of the encoder")] = ()
    summary: Annotated[Path, Input("summary.csv")]
    summary_origin: Annotated[Path, Input("summary.json, which holds the digest of summary.csv")]
    bundle: Annotated[Path, Output("bundle.json to write; the other files of the bundle are written beside it")]
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write the bundle. A decoder that could not be trained is copied too, as the record of its absence, and not offered.

    Raises:
        AbsentModelError: No decoder could be trained.
        ContractError: The files do not belong together.
    """
    check_table(arguments.summary, read_document(arguments.summary_origin, SummaryOrigin).tables, "summary.csv")
    headers = _headers(arguments)
    head = read_header(arguments.organ_head) if arguments.organ_head else None
    document = _document(arguments, headers, head)
    card = CardData(
        document=document,
        decoders=headers,
        organ_head=head if head and head.status == "trained" else None,
        calibrations={
            found.family: found
            for path in arguments.calibrations
            if (found := read_document(path, DecoderCalibration)).family in document.decoders
        },
        novelty=read_novelty_header(arguments.novelty) if arguments.novelty else None,
        summary=read_summary(arguments.summary),
    )
    write_bundle(arguments.bundle.parent, document, _sources(arguments), model_card(card))
    bundle = read_bundle(arguments.bundle.parent)
    log.info("bundle path=%s decoders=%d digest=%s", bundle.folder, len(bundle.decoders), bundle.digest[:12])
    for organ, decoder in document.decoder_of.items():
        log.info("organ=%s decoder=%s", organ, decoder)


def _headers(arguments: Arguments) -> dict[str, CheckpointHeader]:
    """Header of each decoder, in the order of the settings, the shared decoder last."""
    found = {header.family: header for header in map(read_header, arguments.checkpoints)}
    if set(found) != set(arguments.settings.decoders):
        raise ContractError(
            f"--checkpoints: expected a decoder of each of {sorted(arguments.settings.decoders)}, found {sorted(found)}. "
            "Fix: call snakemake bundle, which names them all"
        )
    return {family: found[family] for family in arguments.settings.decoders}


def _document(
    arguments: Arguments, headers: Mapping[str, CheckpointHeader], head: CheckpointHeader | None
) -> BundleDocument:
    provenance = provenance_of(arguments.bundle, _inputs(arguments), arguments.settings.model_dump(mode="json"))
    data_set, trained, final = provenance.dataset, trained_decoders(headers), arguments.split == FINAL_SPLIT
    organs_of = {family: arguments.settings.organs_of(family, data_set.organs) for family in headers}
    first = headers[trained[0]]
    encoder: dict[str, Any] = {name: first.encoder[name] for name in ENCODER_SECTIONS}
    of_weights = [headers[family].licence for family in trained] + ([head.licence] if head else [])
    licences = licences_of(data_set, EncoderSettings.model_validate(encoder["encoder"]), of_weights)
    routed = [read_document(path, RoutedEvaluation) for path in arguments.routed]
    return BundleDocument(
        provenance=provenance,
        name=f"{data_set.name}, {'final models' if final else f'split {arguments.split}'}",
        split=arguments.split,
        final=final,
        folds=first.folds,
        encoder=encoder,
        encoder_sha256=_weights_sha256(arguments.feature_checks),
        encoder_licence=licences.encoder,
        decoders={family: organs_of[family] for family in trained},
        decoder_of=decoders_of_organs(organs_of, trained, [choice for one in routed for choice in one.decoders]),
        default_decoder=default_decoder(headers, trained),
        files={},
        commercial_use=licences.commercial_use,
        licence=licences.text,
    )


def _inputs(arguments: Arguments) -> list[Path]:
    single = [path for path in (arguments.organ_head, arguments.novelty) if path]
    lists = (
        arguments.checkpoints,
        arguments.watersheds,
        arguments.calibrations,
        arguments.routed,
        arguments.feature_checks,
    )
    return [*single, *(path for paths in lists for path in paths), arguments.summary, arguments.summary_origin]


def _weights_sha256(checks: Sequence[Path]) -> str:
    """Digest of the weights that all features were made with; empty for random weights.

    Raises:
        ContractError: They were made with different weights.
    """
    found = {str(path): read_document(path, FeatureCheck).provenance.made_from.get(WEIGHTS, "") for path in checks}
    if len(set(found.values())) > 1:
        raise ContractError(
            f"the features were made with different weights of the encoder: {found}. Fix: snakemake --forcerun extract_features"
        )
    return next(iter(found.values()), "")


def _sources(arguments: Arguments) -> dict[str, Path]:
    """Files to copy, by their names in the bundle."""
    found = {checkpoint_name(read_header(path).family): path for path in arguments.checkpoints}
    found |= {watershed_name(read_document(path, WatershedChoice).family): path for path in arguments.watersheds}
    found |= {calibration_name(read_document(path, DecoderCalibration).family): path for path in arguments.calibrations}
    single = {ORGAN_HEAD_NAME: arguments.organ_head, NOVELTY_NAME: arguments.novelty}
    return found | {name: path for name, path in single.items() if path}
