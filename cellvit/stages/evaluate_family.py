"""Stage `evaluate_family`: a family's decoder and its baselines on the test folds, organ given -> values and pictures."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np

from cellvit.config.steps import EvaluateSettings
from cellvit.evaluation.annotated import n_nuclei, not_annotated
from cellvit.evaluation.gallery import choose_tiles, gallery_tiles
from cellvit.evaluation.map_sums import predicted_sums
from cellvit.evaluation.scoring import columns_of
from cellvit.evaluation.sources import values_by_source
from cellvit.evaluation.system_scores import perfect_maps, scores_of_classical, scores_of_maps
from cellvit.evaluation.systems import Decoder, read_decoder, shown, system_values
from cellvit.evaluation.values import gaps, majority_class, map_sums_of, map_values
from cellvit.formats.content import provenance_of
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import write_document
from cellvit.formats.evaluations import FamilyEvaluation, SourceValues
from cellvit.formats.family import FamilyData, open_family
from cellvit.formats.gallery import Gallery, GalleryTile
from cellvit.formats.provenance import Provenance
from cellvit.formats.seen import check_unseen
from cellvit.formats.tile_table import TileScores, write_tile_scores
from cellvit.formats.tiles import TileBatch, groups_of, read_tiles
from cellvit.inference.lanes import shared_out
from cellvit.inference.loading import Loaded
from cellvit.inference.maps import load_decoder, predict_maps
from cellvit.inference.parallel import workers
from cellvit.inference.predictions import MapBatch
from cellvit.inference.progress import reported
from cellvit.metrics.maps import MapSums
from cellvit.models.device import resolve_device
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.taxonomy import SHARED_FAMILY, base_family
from cellvit.workflow.arguments import Code, DeviceChoice, Input, Output, Setting, Threads, Through, check_paired

log = logging.getLogger(__name__)

_BLOCK_TILES: Final = 16
"""Tiles in memory at a time for the systems without a network: about 60 MB with perfect maps."""

_SYSTEMS: Final = 4
"""Systems that segment every test tile: decoder, shared, classical, upper_bound."""

_NO_NUCLEI: Final = "No test tile of this decoder has a nucleus."


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[EvaluateSettings, Setting("JSON: settings of the evaluation")]
    split: Annotated[str, Setting("name of the split")]
    family: Annotated[str, Setting("name of the family")]
    train_folds: Annotated[tuple[int, ...], Setting("folds that trained the decoder")]
    test_folds: Annotated[tuple[int, ...], Setting("folds to evaluate on")]
    members: Annotated[tuple[Path, ...], Input("members of the family, one file per train and test fold")]
    tiles: Annotated[tuple[Path, ...], Through("tile stores of these folds")]
    features: Annotated[tuple[Path, ...], Through("feature stores of these folds")]
    checkpoint: Annotated[Path, Input("the family's decoder")]
    watershed: Annotated[Path, Input("the decoder's watershed parameters")]
    shared_checkpoint: Annotated[Path | None, Input("the decoder for all organs, to compare with")] = None
    shared_watershed: Annotated[Path | None, Input("its watershed parameters")] = None
    evaluation: Annotated[Path, Output("JSON to write: values")]
    table: Annotated[Path, Output("CSV to write: scores of every tile")]
    gallery: Annotated[Path, Output("JSON to write: pictures of a few tiles")]
    device: DeviceChoice = "auto"
    threads: Threads = 1
    code: Code = ""


@dataclass(frozen=True, slots=True)
class _Test:
    """The family's data, and the rows of its test tiles."""

    arguments: Arguments
    data: FamilyData
    rows: np.ndarray

    def _loaded(self, decoder: Decoder) -> Loaded[HoVerNetDecoder]:
        device = resolve_device(self.arguments.device)
        return load_decoder(decoder.path, device, lanes=shared_out(device, self.arguments.threads))

    def maps(self, decoder: Decoder, rows: np.ndarray, what: str) -> Iterator[MapBatch]:
        """Maps of the tiles at `rows`."""
        loaded = self._loaded(decoder)
        averages = decoder.choice.average_views
        maps = predict_maps(loaded, self.data.features, self.data.tiles, rows, average_views=averages)
        yield from reported(maps, what, len(rows))

    def sums(self, decoder: Decoder, rows: np.ndarray, what: str) -> MapSums:
        """Sums of the maps of the tiles at `rows`."""
        loaded = self._loaded(decoder)
        averages = decoder.choice.average_views
        sums = predicted_sums(loaded, self.data.features, self.data.tiles, rows, average_views=averages)
        none = MapSums.empty(self.data.tiles.dataset.n_classes)
        return MapSums(np.concatenate([none.rows, *reported(sums, what, len(rows))]))

    def tiles(self, what: str) -> Iterator[TileBatch]:
        """The test tiles in blocks."""
        blocks = (self.rows[start : start + _BLOCK_TILES] for start in range(0, len(self.rows), _BLOCK_TILES))
        return reported((read_tiles(self.data.tiles, rows) for rows in blocks), what, len(self.rows))


def run(arguments: Arguments) -> None:
    """Write values, scores and pictures; for a family without decoder or test tiles the files say why there are none."""
    check_paired(members=arguments.members, tiles=arguments.tiles, features=arguments.features)
    decoder = _decoder(arguments, arguments.checkpoint, arguments.watershed, arguments.family)
    scores: dict[str, TileScores] = {}
    pictures: tuple[GalleryTile, ...] = ()
    with open_family(arguments.members, arguments.tiles, arguments.features) as data:
        test = _Test(arguments, data, data.rows_of_folds(arguments.test_folds))
        check_unseen(arguments.checkpoint, decoder.header.seen, data.tiles, test.rows)
        reason = decoder.header.reason or (
            "" if len(test.rows) else f"no tiles in test folds {list(arguments.test_folds)}"
        )
        evaluation = FamilyEvaluation(
            provenance=_provenance(arguments, arguments.evaluation),
            split=arguments.split,
            family=arguments.family,
            status="absent" if reason else "evaluated",
            reason=reason,
            n_tiles=len(test.rows),
        )
        if not reason:
            train_rows = data.rows_of_folds(arguments.train_folds)
            sums = test.sums(decoder, train_rows, "mapped system=decoder of=training")
            decoders = {"decoder": decoder, **_shared(arguments)}
            scores = _scores(test, decoders, majority_class(sums))
            fields = _values(scores, sums, data.tiles.names("patient", train_rows))
            evaluation = evaluation.model_copy(update=fields | {"sources": _sources(scores, decoders)})
            pictures = _pictures(test, decoder, scores)
    write_tile_scores(arguments.table, scores, columns_of(evaluation.dataset))
    tables = {"tiles": sha256_of(arguments.table)}
    write_document(arguments.evaluation, evaluation.model_copy(update={"tables": tables}))
    note, provenance = reason or ("" if pictures else _NO_NUCLEI), _provenance(arguments, arguments.gallery)
    gallery = Gallery(provenance=provenance, split=arguments.split, family=arguments.family, tiles=pictures, note=note)
    write_document(arguments.gallery, gallery)
    where = f"evaluation split={arguments.split} family={arguments.family}"
    if reason:
        log.warning("%s absent: %s", where, reason)
    if n_wholly := evaluation.not_annotated.n_wholly:
        log.warning("%s not_scored=%d: tiles that are not annotated", where, n_wholly)
    for system, values in evaluation.systems.items():
        line = shown(values, ("aji", "bpq", "mpq", "np_dice"))
        log.info("%s system=%s tiles=%d %s", where, system, evaluation.n_tiles, line)


def _decoder(arguments: Arguments, checkpoint: Path, watershed: Path, family: str) -> Decoder:
    return read_decoder(checkpoint, watershed, split=arguments.split, family=family, test_folds=arguments.test_folds)


def _shared(arguments: Arguments) -> dict[str, Decoder]:
    """The decoder for all organs as the system "shared"; nothing if it is not given or could not be trained."""
    if arguments.shared_checkpoint is None or arguments.shared_watershed is None:
        return {}
    family = arguments.family.replace(base_family(arguments.family), SHARED_FAMILY, 1)  # with the same seed
    decoder = _decoder(arguments, arguments.shared_checkpoint, arguments.shared_watershed, family)
    if decoder.header.status == "absent":
        log.warning("split=%s has no shared decoder: %s", arguments.split, decoder.header.reason)
        return {}
    return {"shared": decoder}


def _scores(test: _Test, decoders: dict[str, Decoder], majority: int) -> dict[str, TileScores]:
    """Scores of every system on the test tiles; the upper bound uses the decoder's watershed."""
    family, rows, scores, decoder = test.arguments.family, test.rows, dict[str, TileScores](), decoders["decoder"]
    data_set = test.data.tiles.dataset
    with workers(test.arguments.threads, _SYSTEMS * len(rows)) as pool:
        for system, of_system in decoders.items():
            maps = test.maps(of_system, rows, f"scored system={system}")
            of_family = of_system.header.family
            scores[system] = scores_of_maps(maps, of_system.watershed, data_set, family=of_family, pool=pool)
        tiles = test.tiles("scored system=classical")
        classical = decoder.classical
        scores["classical"] = scores_of_classical(tiles, classical, majority, data_set, family=family, pool=pool)
        maps = map(perfect_maps, test.tiles("scored system=upper_bound"))
        scores["upper_bound"] = scores_of_maps(maps, decoder.watershed, data_set, family=family, pool=pool)
    return scores


def _values(scores: dict[str, TileScores], train: MapSums, train_patients: tuple[str, ...]) -> dict[str, Any]:
    own = scores["decoder"]
    patients, train_groups = own.text("patient"), groups_of(train_patients)
    return {
        "n_patients": own.n_patients,
        "n_tiles_without_patient": own.n_tiles_without_patient,
        "n_patients_trained_on": len((set(patients) & set(train_patients)) - {""}),
        "n_nuclei": n_nuclei(own),
        "not_annotated": not_annotated(own),
        "train": map_values(train, groups=train_groups),
        "gaps": gaps(train, map_sums_of(own), groups=groups_of(train_patients + patients)),
        **system_values(scores, "decoder")._asdict(),
    }


def _sources(scores: dict[str, TileScores], decoders: dict[str, Decoder]) -> dict[str, SourceValues]:
    """Values by source of the systems that were trained; nothing where no test tile names its source."""
    found = {name: values_by_source(scores[name], decoder.header.sources) for name, decoder in decoders.items()}
    return {name: values for name, values in found.items() if values is not None}


def _pictures(test: _Test, decoder: Decoder, scores: dict[str, TileScores]) -> tuple[GalleryTile, ...]:
    """The tiles of the gallery; their maps are predicted again, because none are stored."""
    chosen = choose_tiles(scores["decoder"])
    if not chosen:
        return ()
    tile_ids = test.data.tiles.names("tile_id")
    rows = np.array([tile_ids.index(tile_id) for tile_id, _ in chosen], np.int64)
    return gallery_tiles(chosen, scores, test.maps(decoder, rows, "mapped of=gallery"), decoder.watershed)


def _provenance(arguments: Arguments, output: Path) -> Provenance:
    shared = (arguments.shared_checkpoint, arguments.shared_watershed)
    inputs = [*arguments.members, *arguments.tiles, arguments.checkpoint, arguments.watershed, *filter(None, shared)]
    folds = {"train_folds": arguments.train_folds, "test_folds": arguments.test_folds}
    return provenance_of(output, inputs, {**arguments.settings.model_dump(mode="json"), **folds})
