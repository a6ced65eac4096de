"""Data sets other than PanNuke, and tile stores of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from cellvit.data.simulate.fold import Plan, make_tile
from cellvit.formats.dataset import DataSet
from cellvit.formats.documents import write_document
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import TILES, FoldSummary, TileBatch, append_tiles, tile_id_of
from cellvit.formats.writing import writing
from cellvit.hover.relabel import paint_channels

COLORS: Final = ("#00ff00", "#ffff00", "#0000ff")


def data_set(classes: Sequence[str], organs: Sequence[str] = (), *, mpp: float = 0.5) -> DataSet:
    named = [{"name": name, "color": color} for name, color in zip(classes, COLORS, strict=False)]
    return DataSet(name="Own", classes=named, organs=organs, mpp=mpp, licence="CC BY 4.0", commercial_use=True)


ONE_CLASS: Final = data_set(["Nucleus"])
THREE_CLASSES: Final = data_set(["Tumour cell", "Lymphocyte", "Other"], ["Brain", "Spinal cord"], mpp=0.25)
ONE_ORGAN: Final = data_set(["Tumour cell", "Other"], ["Brain"])


def write_simulated_tiles(tiles: Path, summary: Path, fold: int, found: DataSet, organs: Sequence[str]) -> None:
    """A fold of simulated nuclei, whose classes take turns; what the step for own data writes."""
    simulated = [make_tile(Plan("Colon", empty=False), fold, row, seed=0) for row in range(len(organs))]
    painted = [paint_channels(tile.masks[..., :-1]) for tile in simulated]
    instances = np.stack([tile.instances for tile in painted])
    classes = np.where(instances > 0, (instances - 1) % found.n_classes + 1, 0).astype(np.uint8)
    origin = Provenance(data_set=found, simulated=True)
    batch = TileBatch(
        image=np.stack([tile.image for tile in simulated]),
        instances=instances,
        classes=classes,
        organ=tuple(organs),
        tile_id=tuple(tile_id_of(fold, row) for row in range(len(organs))),
        origin=tuple(f"=slide_{fold}.png x={256 * row} y=0 <b>" for row in range(len(organs))),
        dataset=found,
    )
    with writing(tiles, TILES, len(organs), {}, origin) as writer:
        append_tiles(writer, batch)
    write_document(summary, summary_of(fold, batch, origin))


def summary_of(fold: int, batch: TileBatch, origin: Provenance) -> FoldSummary:
    numbers = [np.unique(tile[tile > 0], return_index=True)[0].max(initial=0) for tile in batch.instances]
    return FoldSummary(
        provenance=origin,
        fold=fold,
        n_tiles=len(batch),
        tiles_by_organ={organ: batch.organ.count(organ) for organ in sorted(set(batch.organ) - {""})},
        nuclei_by_class={batch.dataset.class_names[1]: int(sum(numbers))},
        coverage=float((batch.instances > 0).mean()),
        empty_tiles=(),
        overlap_px=0,
        nuclei_painted_over=0,
        background_mismatch_px=0,
    )
