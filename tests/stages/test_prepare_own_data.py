"""A folder of annotated images becomes the tile stores of its folds, or an error that says what is wrong with it."""

import csv
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from cellvit.config.steps import PrepareOwnDataSettings
from cellvit.data.pannuke import fold_files
from cellvit.data.simulate.own import write_own_data
from cellvit.errors import CellvitError, ContractError, IntegrityError, SettingsError
from cellvit.formats.dataset import NOT_ANNOTATED
from cellvit.formats.documents import read_document
from cellvit.formats.own_check import OwnDataCheck
from cellvit.formats.tiles import FoldSummary, TileBatch, open_tiles, read_tiles
from cellvit.stages import prepare_fold, prepare_own_data

N_IMAGES = 6
REAL_TILES = Path(__file__).parents[3] / "shared" / "real_tiles"


class Prepared:
    """What the step wrote."""

    def __init__(self, home: Path, folds: Sequence[int]) -> None:
        self.home, self.folds = home, folds

    def tiles(self, fold: int) -> Path:
        return self.home / f"fold{fold}.h5"

    def summary(self, fold: int) -> FoldSummary:
        return read_document(self.home / f"fold{fold}.json", FoldSummary)

    def batch(self, fold: int) -> TileBatch:
        with open_tiles(self.tiles(fold)) as store:
            return read_tiles(store, np.arange(len(store)))

    @property
    def check(self) -> OwnDataCheck:
        return read_document(self.home / "own_data.json", OwnDataCheck)

    @property
    def images(self) -> list[dict[str, str]]:
        with (self.home / "images.csv").open(newline="") as file:
            return list(csv.DictReader(file))


Prepare = Callable[..., Prepared]


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own") / "brain"
    write_own_data(root, n_images=N_IMAGES, seed=3)
    return root


@pytest.fixture
def copied(brain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(brain, tmp_path / "brain"))


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    def prepared(root: Path, *, mpp: float = 0.25, folds: Sequence[int] = (1, 2, 3), seed: int = 0) -> Prepared:
        home = tmp_path / f"tiles_{mpp}_{seed}"
        made = Prepared(home, folds)
        prepare_own_data.run(
            prepare_own_data.Arguments(
                settings=PrepareOwnDataSettings(mpp=mpp, folds=tuple(folds), fold_seed=seed),
                data=root,
                tiles=tuple(made.tiles(fold) for fold in folds),
                summaries=tuple(home / f"fold{fold}.json" for fold in folds),
                check=home / "own_data.json",
                images=home / "images.csv",
            )
        )
        return made

    return prepared


def rewritten(root: Path, **fields: object) -> None:
    """Other values in dataset.yaml."""
    path = root / "dataset.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | fields))


def with_column(root: Path, name: str, values: Sequence[object]) -> None:
    """A column of tiles.csv with other values."""
    with (root / "tiles.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (root / "tiles.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys([*rows[0], name])))
        writer.writeheader()
        writer.writerows(row | {name: value} for row, value in zip(rows, values, strict=True))


def test_images_become_tiles_that_know_their_file_and_the_data_set(brain, prepare):
    made = prepare(brain)

    batches = [made.batch(fold) for fold in made.folds]
    origins = [origin for batch in batches for origin in batch.origin]
    assert len(origins) == len(set(origins))
    assert {origin.split(" ")[0] for origin in origins} == {
        f"images/patient{p:02}_{i}.png" for p in (1, 2, 3) for i in (1, 2)
    }
    assert any(origin.endswith(" x=384 y=256") for origin in origins)  # of 512 px at half the resolution
    for batch in batches:
        assert batch.dataset.class_names == ("Background", "Tumour", "Lymphocyte", "Other")
        assert batch.dataset.mpp == 0.25
        assert set(batch.organ) == {"Brain"}
        assert len(set(batch.patient)) == 1  # three patients, three folds


def test_every_nucleus_is_in_one_tile(brain, prepare):
    made = prepare(brain)

    n_in_tiles = sum(int(tile.max()) for fold in made.folds for tile in made.batch(fold).instances)
    n_in_summaries = sum(sum(made.summary(fold).nuclei_by_class.values()) for fold in made.folds)
    n_in_images = sum(int(row["nuclei"]) for row in made.images)
    assert n_in_tiles == n_in_summaries == n_in_images > 500


def test_a_corner_that_is_not_annotated_counts_nowhere(brain, prepare):
    made = prepare(brain)

    (fold,) = [int(row["fold"]) for row in made.images if row["image"] == "images/patient01_1.png"]
    batch = made.batch(fold)
    # The corner has 320 px at the model's resolution: the first tile has nothing else and is left out.
    assert "images/patient01_1.png x=0 y=0" not in batch.origin
    beside = batch.classes[batch.origin.index("images/patient01_1.png x=128 y=0")]
    assert (beside[:, :64] == NOT_ANNOTATED).all()
    assert made.summary(fold).not_annotated.n_partly >= 3
    assert made.check.changed["tiles_without_annotation"] == 1


def test_equal_folders_give_equal_files(brain, prepare, tmp_path):
    first = prepare(brain)
    before = {path.name: path.read_bytes() for path in first.home.iterdir()}

    again = prepare(Path(shutil.copytree(brain, tmp_path / "elsewhere" / "brain")))

    assert {path.name: path.read_bytes() for path in again.home.iterdir()} == before


def test_folds_of_tiles_csv_are_taken(copied, prepare):
    with_column(copied, "fold", [2, 2, 1, 1, 3, 3])

    made = prepare(copied)

    assert [row["fold"] for row in made.images] == ["2", "2", "1", "1", "3", "3"]
    assert set(made.batch(1).patient) == {"patient02"}


def test_other_folds_than_the_settings_are_refused(copied, prepare):
    with_column(copied, "fold", [1, 1, 2, 2, 2, 2])

    with pytest.raises(ContractError, match=r"data\.folds: \[1, 2\]"):
        prepare(copied)


def test_a_patient_in_two_folds_is_refused(copied, prepare):
    with_column(copied, "fold", [1, 2, 2, 2, 3, 3])

    with pytest.raises(ContractError, match="patient 'patient01' is in fold 1 and in fold 2"):
        prepare(copied)


def test_fewer_patients_than_folds_are_refused(copied, prepare):
    with_column(copied, "patient", ["a", "a", "a", "b", "b", "b"])

    with pytest.raises(SettingsError, match="3 folds need at least 3 patients"):
        prepare(copied)


def test_mirrored_images_stop_the_step_before_anything_is_written(copied, prepare, tmp_path):
    for path in (copied / "images").iterdir():
        cv2.imwrite(str(path), cv2.flip(cv2.imread(str(path)), 1))

    with pytest.raises(IntegrityError, match="mirrored"):
        prepare(copied)

    assert not list(tmp_path.glob("tiles_*/*.h5"))


def test_a_resolution_that_cannot_be_right_names_the_likely_factor(copied, prepare):
    rewritten(copied, mpp=4.0)

    with pytest.raises(IntegrityError, match=r"wrong by a factor of 0\.125: 4 was given, 0\.5 would be plausible"):
        prepare(copied)


def test_an_image_that_was_copied_in_part_is_named(copied, prepare):
    path = copied / "images" / "patient02_1.png"
    image = cv2.imread(str(path))
    image[300:] = 0
    cv2.imwrite(str(path), image)

    with pytest.raises(IntegrityError, match=r"cut_off_image.*patient02_1\.png"):
        prepare(copied)


def test_an_unknown_class_names_the_file_and_the_fix(copied, prepare):
    rewritten(copied, classes=[{"name": "Tumour", "color": "#d81b60"}, {"name": "Other", "color": "#ffc107"}])

    with pytest.raises(CellvitError, match="'Lymphocyte', which is not listed") as caught:
        prepare(copied)

    assert "annotations/patient0" in str(caught.value)
    assert "not annotated" in str(caught.value)


@pytest.mark.real_tiles
@pytest.mark.slow
def test_real_tiles_as_label_maps_give_the_stores_of_their_pannuke_layout_bit_for_bit(prepare, tmp_path):
    subprocess.run([sys.executable, str(REAL_TILES / "make_folds.py"), str(tmp_path / "raw")], check=True)
    fold_of = _fold_of_each_tile()
    root = _as_label_maps(tmp_path / "own", fold_of)

    made = prepare(root)

    for fold in made.folds:
        files, tiles = fold_files(tmp_path / "raw", fold), tmp_path / f"pannuke{fold}.h5"
        prepare_fold.run(
            prepare_fold.Arguments(fold=fold, **files.inputs, tiles=tiles, summary=tiles.with_suffix(".json"))
        )
        with open_tiles(tiles) as store:
            expected = read_tiles(store, np.arange(len(store)))
        found = made.batch(fold)
        for name in ("image", "instances", "classes"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert (found.organ, found.tile_id) == (expected.organ, expected.tile_id)


def _fold_of_each_tile() -> dict[str, int]:
    """Folds as make_folds.py deals them, in the order of its rows."""
    import zlib

    with (REAL_TILES / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    fold_of: dict[tuple[str, str, str], int] = {}
    dealt: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: zlib.crc32(row["patient"].encode())):
        patient = (row["organ"], row["source"], row["patient"])
        if patient not in fold_of:
            dealt[row["organ"]] = dealt.get(row["organ"], -1) + 1
            fold_of[patient] = 1 + dealt[row["organ"]] % 3
    return {row["tile_id"]: fold_of[row["organ"], row["source"], row["patient"]] for row in rows}


def _as_label_maps(root: Path, fold_of: dict[str, int]) -> Path:
    """The real tiles as a folder of images, label maps and class maps."""
    for kind in ("images", "instances", "classes"):
        shutil.copytree(REAL_TILES / kind, root / kind)
    with (REAL_TILES / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:  # nuclei of images without classes are written as neoplastic in PanNuke's layout
        if row["has_classes"] == "1":
            (root / "classes" / f"{row['tile_id']}.png").rename(root / "instances" / f"{row['tile_id']}_class.png")
    suffix = {path.stem: path.suffix for path in (root / "images").iterdir()}
    with (root / "tiles.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "annotation", "organ", "patient", "source", "fold"])
        for row in rows:
            name = row["tile_id"]
            image, annotation = f"images/{name}{suffix[name]}", f"instances/{name}.png"
            patient = f"{row['source']} {row['organ']} {row['patient']}"
            writer.writerow([image, annotation, row["organ"], patient, row["source"], fold_of[name]])
    names = ["Neoplastic", "Inflammatory", "Connective", "Dead", "Epithelial"]
    colors = ["#f0e442", "#35e0f0", "#ffffff", "#000000", "#ff6a00"]
    description = {
        "name": "Real tiles",
        "mpp": 0.25,
        "classes": [
            {"name": name, "color": color, "names": [str(number)]}
            for number, (name, color) in enumerate(zip(names, colors, strict=True), 1)
        ],
        "unlabelled": "Neoplastic",
        "annotations": {"kind": "label-map", "class_file": "{name}_class.png"},
    }
    (root / "dataset.yaml").write_text(yaml.safe_dump(description))
    return root
