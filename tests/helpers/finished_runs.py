"""Output folders of small finished runs: evaluations, tables of tiles, summary and a report that records the settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellvit.config.settings import load_settings
from cellvit.config.steps import BuildReportSettings
from cellvit.evaluation.scoring import COLUMNS, score_columns
from cellvit.formats.content import provenance_of
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import write_document
from cellvit.formats.evaluations import ORGAN_PREDICTED, FamilyEvaluation, RoutedEvaluation
from cellvit.formats.page import write_page
from cellvit.formats.provenance import Provenance
from cellvit.formats.summary import SummaryOrigin, write_summary
from cellvit.formats.tile_table import TileScores, write_tile_scores
from cellvit.metrics.maps import COLUMNS as MAP_COLUMNS

SETTINGS: dict[str, Any] = {
    "families": {"digestive": ["Colon"]},
    "splits": {"1": {"train": 1, "validate": 2, "test": 3}, "2": None, "3": None},
    "training": {"shared_decoder": False},
}

Systems = Mapping[str, TileScores]


def scores(patients: Sequence[str], organs: Sequence[str] = (), **columns: Sequence[float]) -> TileScores:
    """A tile for each patient (or organ); scores that are not given are undefined, and counts that are not given are 0.

    `tp` and `fn` count the nuclei of each tile that are found and missed.
    """
    n = max(len(patients), len(organs))
    values = np.zeros((n, len(COLUMNS)))
    values[:, [COLUMNS.index(name) for name in (*score_columns(PANNUKE.class_keys), *MAP_COLUMNS)]] = np.nan
    values[:, COLUMNS.index("n_true")] = 5
    counts = {"tp": "pairs_1_1", "fn": "pairs_1_6"}
    for name, column in columns.items():
        values[:, COLUMNS.index(counts.get(name, name))] = column
    texts = {
        "tile_id": [f"f3-{row:05d}" for row in range(n)],
        "organ": list(organs) or ["Colon"] * n,
        "patient": list(patients) or [""] * n,
        "source": [""] * n,
        "origin": [""] * n,
        "family": ["digestive"] * n,
    }
    return TileScores.of(texts, COLUMNS, values)


def write_run(
    folder: Path,
    systems: Systems,
    *,
    settings: Mapping[str, Any] = SETTINGS,
    tiles: Mapping[str, str] | None = None,
) -> Path:
    """A finished run of one split and family; `tiles` are the digests of the tile stores by the name of their fold."""
    loaded = load_settings({**SETTINGS, **settings})
    evaluations = folder / "evaluation" / "split1"
    made_from = {f"../../tiles/{fold}.h5": digest for fold, digest in (tiles or {"fold3": "a" * 64}).items()}
    of = {
        "provenance": Provenance(data_set=PANNUKE, made_from=made_from),
        "split": "1",
        "status": "evaluated",
        "n_tiles": 4,
    }
    routed = {ORGAN_PREDICTED if name == "decoder" else name: part for name, part in systems.items()}
    for name, parts in (("digestive", systems), ("routed", routed)):
        write_tile_scores(evaluations / f"{name}_tiles.csv", parts, COLUMNS)
        tables = {"tiles": sha256_of(evaluations / f"{name}_tiles.csv")}
        document = (
            RoutedEvaluation(**of, tables=tables)
            if name == "routed"
            else FamilyEvaluation(**of, tables=tables, family=name)
        )
        write_document(evaluations / f"{name}.json", document)
    write_summary(folder / "summary.csv", [])
    origin = SummaryOrigin(
        provenance=Provenance(data_set=PANNUKE), tables={"summary.csv": sha256_of(folder / "summary.csv")}
    )
    write_document(folder / "summary.json", origin)
    page = folder / "report" / "index.html"
    inputs = [evaluations / "digestive.json", evaluations / "routed.json", folder / "summary.json"]
    shown = BuildReportSettings(settings=loaded).model_dump(mode="json", by_alias=True)
    write_page(page, "<html><head></head></html>", provenance_of(page, inputs, shown))
    return folder
