"""The table of nuclei of a finished prediction as AnnData, which scanpy, squidpy and spatialdata read.

Each nucleus is an observation: class and measurements are in `obs`, its centroid in um in `obsm["spatial"]`, and what the licences of
the models mean in `uns`. There are no variables (genes).

References:
    The format: https://anndata.readthedocs.io/en/stable/fileformat-prose.html
"""

import io
import json
from pathlib import Path
from typing import Any, Final

import h5py
import pandas as pd

from cellvit.errors import IntegrityError, MissingInputError
from cellvit.formats.atomic import replacing
from cellvit.formats.cells import cell_text
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import read_document
from cellvit.formats.prediction import ANNDATA, RUN, TABLE, SlideRun
from cellvit.prediction.outputs.geojson import description_of
from cellvit.prediction.outputs.measured import columns_of
from cellvit.prediction.outputs.table import require_parquet

_TABLES: Final = (TABLE, str(Path(TABLE).with_suffix(".parquet")))
_TEXTS: Final = ("id", "class", "licence")
_AGAIN: Final = "predict the image again: cellvit predict IMAGE --force"


def export_anndata(folder: Path) -> Path:
    """Write nuclei.h5ad beside the table of nuclei of an image, and return its path.

    Raises:
        MissingInputError: The folder has no finished prediction, or a package is missing.
        IntegrityError: The table was changed after it was written.
    """
    anndata = _anndata()
    run = read_document(folder / RUN, SlideRun)
    nuclei = read_nuclei(folder, run)
    path = folder / ANNDATA
    # In memory: at the limit of the size of files (ulimit -f), HDF5 would end the process with SIGSEGV.
    written = io.BytesIO()
    with h5py.File(written, "w") as file:
        anndata.io.write_elem(file, "/", _as_anndata(nuclei, run, anndata))
    with replacing(path) as temporary:
        temporary.write_bytes(written.getbuffer())
    return path


def read_nuclei(folder: Path, run: SlideRun) -> pd.DataFrame:
    """The table of nuclei, CSV or Parquet, with the columns of `columns_of`.

    Raises:
        MissingInputError: It does not exist, or it is Parquet and pyarrow is not installed.
        IntegrityError: It is not the one that the run wrote.
    """
    path = folder / next((name for name in _TABLES if name in run.files), TABLE)
    if not path.exists():
        raise MissingInputError(f"{path}: the file does not exist. Fix: {_AGAIN}")
    if (found := sha256_of(path)) != run.files.get(path.name):
        raise IntegrityError(
            f"{path}: the table was changed after it was written.\n"
            f"  sha256: expected {run.files.get(path.name)}, found {found}\nFix: {_AGAIN}"
        )
    if path.suffix == ".parquet":
        table: pd.DataFrame = require_parquet().parquet.read_table(path).to_pandas()
        return table
    return _read_csv(path, run)


def _read_csv(path: Path, run: SlideRun) -> pd.DataFrame:
    """Only numbers can be missing: a class may be named NA."""
    numbers = [name for name in columns_of(run.dataset) if name not in _TEXTS]
    kinds = dict.fromkeys(_TEXTS, object) | dict.fromkeys(numbers, "float64") | {"unlike_training": "int64"}
    table = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values={name: [""] for name in numbers})
    texts = {name: table[name].map(cell_text) for name in ("class", "licence")}
    return table.assign(**texts, unlike_training=table["unlike_training"] == 1)


def _as_anndata(nuclei: pd.DataFrame, run: SlideRun, anndata: Any) -> Any:
    # Texts as objects: anndata 0.11 does not write the strings of pandas 3.
    obs = nuclei.drop(columns=["id", "x_um", "y_um", "licence"])
    names = pd.Index(list(run.dataset.class_names[1:]), dtype=object)
    obs["class"] = pd.Categorical.from_codes(
        names.get_indexer(pd.Index(nuclei["class"], dtype=object)), categories=names
    )
    obs.index = pd.Index(nuclei["id"].to_list(), dtype=object)
    return anndata.AnnData(
        obs=obs,
        var=pd.DataFrame(index=pd.Index([], dtype=object)),
        obsm={"spatial": nuclei[["x_um", "y_um"]].to_numpy(float)},
        uns={"licence": run.licence, "cellvit": json.dumps(description_of(run))},
    )


def _anndata() -> Any:
    try:
        import anndata
        import anndata.io
    except ImportError as error:
        raise MissingInputError(
            "export: AnnData needs the package anndata, which is not installed. Fix: pip install cellvit-optimus[export]"
        ) from error
    return anndata
