"""One image -> its nuclei and all files about it, resumed chunk by chunk where an earlier prediction was stopped."""

import logging
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float64

from cellvit.data.slides.view import view_of
from cellvit.formats.dataset import DataSet
from cellvit.formats.digests import combined
from cellvit.formats.prediction import OrganChoice
from cellvit.inference.parallel import Workers
from cellvit.inference.progress import progress
from cellvit.prediction.chunks import Chunk
from cellvit.prediction.findings import Findings
from cellvit.prediction.merging import Work, merge_chunks, merged_nuclei
from cellvit.prediction.models import Ensemble, TilePredictor
from cellvit.prediction.opened import OpenedImage, opened_image
from cellvit.prediction.organ import (
    families_of,
    given_organ,
    is_predicted,
    no_organ,
    predicted_organ,
    voting_places,
)
from cellvit.prediction.outputs.write import write_outputs
from cellvit.prediction.record import slide_run
from cellvit.prediction.request import Request
from cellvit.prediction.result import PredictedImage
from cellvit.prediction.shards import Shard, read_shard, write_shard
from cellvit.prediction.stream import Stream

log = logging.getLogger(__name__)

WORK: Final = ".work"
"""Folder of unfinished results in the output folder of an image."""

_SHOWN_PX: Final = 2_000
"""Longest side of the picture of the image: a few hundred kilobytes, and tissue is recognisable (decision)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Models and processes that predict any number of images.

    Attributes:
        lanes: Batches that are predicted at a time (`cellvit.inference.lanes`).
        always_parallel: Use the worker processes for the smallest image too, because there are many.
    """

    ensemble: Ensemble
    pool: Workers
    lanes: int = 1
    always_parallel: bool = False

    @property
    def data_set(self) -> DataSet:
        """Classes and resolution, the same for all models."""
        return self.ensemble.models[0].bundle.document.dataset


def predict_image(request: Request, machine: Machine, folder: Path, *, key: str) -> None:
    """Predict an image and write its files to `folder`; run.json is written last.

    Args:
        key: `cellvit.prediction.request.request_key` of the request.

    Raises:
        CellvitError: The image cannot be read, its resolution is not known, or a file cannot be written.
    """
    seconds = _Seconds()
    with opened_image(request, machine.data_set, key=key) as image:
        seconds.mark("area")
        log.info("%s: %s; tiles=%d", request.name, image.area.how, image.plan.active.sum())
        work = Work(folder / WORK, combined({"result": key, **_arithmetic(request, machine)}))
        organ = _organ(image, machine)
        seconds.mark("organ")
        findings = _predict_chunks(image, machine, organ, work, seconds)
        _merge(image, machine, work, findings)
        seconds.mark("merging")
        run = slide_run(image, machine.ensemble, organ=organ, findings=findings, seconds=seconds.parts)
        result = PredictedImage(
            run=run,
            nuclei=lambda: merged_nuclei(work, image.plan.chunks()),
            view=view_of(image.pixels, image.area, _SHOWN_PX),
            area=image.area,
            unlike_boxes=_unlike_boxes(image, findings),
            data_set=machine.data_set,
            pixels=image.pixels,
        )
        settings = request.settings
        write_outputs(folder, result, table=settings.table, compress=settings.compress)
        for warning in run.warnings:
            log.warning("%s: %s", request.name, warning)
        shutil.rmtree(work.folder, ignore_errors=True)  # absent without chunks


@dataclass(slots=True)
class _Seconds:
    """Seconds by part of the work."""

    parts: dict[str, float] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)

    def mark(self, part: str) -> None:
        """What was done since the last mark is this part."""
        now = time.monotonic()
        self.parts[part], self.since = round(now - self.since, 3), now


def _arithmetic(request: Request, machine: Machine) -> dict[str, object]:
    """What decides the last bits of the maps: chunks of another device are not mixed with those of this one."""
    device = machine.ensemble.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"device": name, "batch_size": request.batch_size, "torch": torch.__version__}


def _organ(image: OpenedImage, machine: Machine) -> OrganChoice:
    ensemble, request = machine.ensemble, image.request
    if request.settings.organ:
        return given_organ(request.settings.organ, ensemble)
    if not is_predicted(ensemble) or not image.plan.active.any():
        return no_organ(ensemble)
    places = voting_places(image.pixels, image.area)
    predictor, size = TilePredictor(ensemble, ()), request.batch_size
    found = predicted_organ(predictor, image.pixels, places, batch_size=size, lanes=machine.lanes)
    probability = found.votes[found.organ]
    log.info("%s: organ=%s probability=%.2f tiles=%d", request.name, found.organ, probability, found.n_tiles)
    return found


def _predict_chunks(
    image: OpenedImage, machine: Machine, organ: OrganChoice, work: Work, seconds: _Seconds
) -> Findings:
    """Predict the chunks that no earlier prediction has left; all are then in the work folder."""
    stream = _stream(image, machine, organ.organ)
    found = Findings(decoders=stream.predictor.decoders)
    with progress(f"{image.request.name} predicted", max(1, int(image.plan.active.sum()))) as add:
        for chunk in image.plan.chunks():
            shard = _shard(stream, work, chunk)
            found.n_encoded += shard.n_encoded
            found.n_judged += len(shard.tiles) if machine.ensemble.judges else 0
            found.unlike.append(shard.tiles[shard.unlike])
            add(len(shard.tiles))
    seconds.mark("tiles")
    seconds.parts["waiting_for_decoding"] = round(stream.clock.waiting, 3)
    return found


def _stream(image: OpenedImage, machine: Machine, organ: str) -> Stream:
    ensemble, request = machine.ensemble, image.request
    average_views = request.settings.average_views
    decoders, fallback = ensemble.decoders(families_of(ensemble, organ), average_views=average_views), None
    if request.settings.unlike == "shared" and ensemble.judges:
        fallback = ensemble.decoders(families_of(ensemble, ""), average_views=average_views)
    predictor = TilePredictor(ensemble, decoders, fallback=fallback, shrinks=request.batch_size is None)
    return Stream(
        image.pixels,
        image.plan,
        predictor,
        machine.pool,
        batch_size=request.batch_size,
        lanes=machine.lanes,
        always_parallel=machine.always_parallel,
    )


def _shard(stream: Stream, work: Work, chunk: Chunk) -> Shard:
    path = work.shard(chunk)
    found = read_shard(path, work.key)
    if found is None:
        found = stream.shard(chunk)
        write_shard(path, work.key, found)
    return found


def _merge(image: OpenedImage, machine: Machine, work: Work, findings: Findings) -> None:
    """Write the nuclei of every chunk and count them."""
    counts, chunks = np.zeros(machine.data_set.n_classes + 1, np.int64), image.plan.chunks()
    merged = merge_chunks(
        work,
        chunks,
        machine.pool if len(chunks) > 1 else Workers(None, 1),
        area=None if image.is_whole else image.area,
        scale=image.pixels.scale,
    )
    for of_chunk in merged:
        counts[: len(of_chunk)] += of_chunk
    findings.n_by_class.update(zip(machine.data_set.class_names[1:], counts[1:].tolist(), strict=True))


def _unlike_boxes(image: OpenedImage, findings: Findings) -> Float64[np.ndarray, "k 4"]:
    tiles = np.concatenate([np.empty((0, 2), np.int32), *findings.unlike])
    boxes: Float64[np.ndarray, "k 4"] = image.plan.grid.core_boxes[tiles[:, 0], tiles[:, 1]] * image.pixels.scale
    return boxes
