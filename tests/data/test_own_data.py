"""Users' data sets as their folder describes them, and single images of them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from own_folders import (
    DISKS,
    described_folder,
    disk_feature,
    feature,
    label_map,
    tissue,
    write_geojson,
    write_image,
    write_label_map,
)
from PIL import Image

from cellvit.data.own_data import OwnData, is_own_data, read_own_data
from cellvit.data.own_images import OwnImage, read_own_image
from cellvit.errors import ContractError, MissingInputError
from cellvit.formats.dataset import NOT_ANNOTATED, PANNUKE
from cellvit.hover.relabel import paint_channels

NEURON, GLIA = 1, 2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return described_folder(tmp_path / "brain")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def first_image(root: Path) -> OwnImage:
    own = read_own_data(root)
    return read_own_image(own, own.rows[0])


def test_a_folder_that_describes_itself_is_own_data(root: Path, tmp_path: Path) -> None:
    assert is_own_data(root)
    assert not is_own_data(tmp_path)


def test_organs_are_sorted_and_part_of_the_data_set(root: Path) -> None:
    (root / "tiles.csv").write_text("image,annotation,organ\n0.png,0.geojson,Pons\n1.png,1.geojson,Cortex\n")

    data_set = read_own_data(root).dataset(0.25)

    assert (data_set.organs, data_set.mpp, data_set.n_classes) == (("Cortex", "Pons"), 0.25, 2)


def test_files_are_all_that_is_read(root: Path) -> None:
    edit(root / "dataset.yaml", "{kind: geojson}", '{kind: label-map, class_file: "{name}_class.csv"}')
    (root / "masks").mkdir()
    for name in ("masks/b.png", "masks/a.png", "0_class.csv"):
        (root / name).touch()
    (root / "tiles.csv").write_text("image,annotation\n0.png,0.geojson\n1.png,masks\n")

    files = [path.relative_to(root).as_posix() for path in read_own_data(root).files]

    expected = ["dataset.yaml", "tiles.csv", "0.png", "0.geojson", "0_class.csv", "1.png", "masks/a.png", "masks/b.png"]
    assert files == expected


def test_a_missing_file_of_classes_is_refused_unless_the_description_says_what_nuclei_without_a_class_become(
    root: Path,
) -> None:
    edit(root / "dataset.yaml", "{kind: geojson}", '{kind: label-map, class_file: "{name}_class.csv"}')
    (root / "0_class.csv").touch()

    with pytest.raises(MissingInputError, match=r"1 of the files with the classes .*\n  line 3: .*1_class\.csv"):
        read_own_data(root)
    (root / "dataset.yaml").write_text((root / "dataset.yaml").read_text() + "\nunlabelled: Neuron\n")
    own = read_own_data(root)

    assert [own.options_of(row).class_file for row in own.rows] == ["{name}_class.csv", ""]


def test_reading_the_description_loads_no_reader_of_images(root: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from cellvit.data.own_data import read_own_data; "
        f"read_own_data(Path({str(root)!r})); print(sorted({{'torch', 'tifffile', 'pandas', 'shapely', 'cv2'}} & sys.modules.keys()))"
    )

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "[]"


def test_nuclei_are_numbered_by_class_and_then_by_their_order_in_the_file(root: Path) -> None:
    image = first_image(root)

    labels = [int(image.instances[y, x]) for x, y, _, _ in DISKS]
    assert labels == [1, 4, 2, 5, 6, 3]
    assert np.unique(image.instances).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert {int(image.classes[y, x]) for x, y, _, name in DISKS if name == "Neuron"} == {NEURON}
    assert np.array_equal(image.instances > 0, image.classes > 0)
    assert (image.mpp, image.mpp_source) == (0.5, "dataset.yaml")
    assert image.written == {"Neuron": 3, "Glia": 3}


def test_nuclei_without_a_class_become_what_the_description_says(root: Path) -> None:
    x, y, radius, _ = DISKS[0]
    write_geojson(root / "0.geojson", [disk_feature((x, y, radius, "")), disk_feature(DISKS[1])])
    edit(root / "dataset.yaml", "licence", "unlabelled: Glia\nlicence")

    image = first_image(root)

    assert int(image.classes[y, x]) == GLIA
    assert image.counts["unlabelled"] == 1
    assert "class_not_annotated" not in image.counts


def test_nuclei_of_unknown_classes_may_count_nowhere(root: Path) -> None:
    x, y, radius, _ = DISKS[0]
    write_geojson(root / "0.geojson", [disk_feature((x, y, radius, "Vessel")), disk_feature(DISKS[1])])
    edit(root / "dataset.yaml", "licence", "unknown: not annotated\nlicence")

    image = first_image(root)

    assert int(image.classes[y, x]) == NOT_ANNOTATED
    assert int(image.instances[y, x]) == 0
    assert np.unique(image.instances).tolist() == [0, 1]
    assert (image.counts["unknown_class"], image.counts["class_not_annotated"]) == (1, 1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("Vessel", "found 1 nuclei of the class 'Vessel', which is not listed", id="unknown"),
        pytest.param("Vessel", "add 'Vessel' to the `names` of a class in", id="fix"),
        pytest.param("", "found 1 nuclei without a class; the classes are 'Neuron', 'Glia'", id="unlabelled"),
    ],
)
def test_such_nuclei_are_refused_where_the_description_says_nothing(root: Path, name: str, expected: str) -> None:
    write_geojson(root / "0.geojson", [disk_feature((40, 40, 12, name)), disk_feature(DISKS[1])])

    with pytest.raises(ContractError) as error:
        first_image(root)

    assert expected in str(error.value)
    assert str(root / "0.geojson") in str(error.value)


def test_regions_that_are_not_annotated_count_nowhere(root: Path) -> None:
    ignored = feature([(0, 0), (128, 0), (128, 50), (0, 50)], "Ignore*")
    write_geojson(root / "0.geojson", [ignored, *map(disk_feature, DISKS)])

    image = first_image(root)

    assert (image.classes[:20] == NOT_ANNOTATED).all()
    assert int(image.instances[:20].max()) == 0
    assert np.unique(image.instances).tolist() == [0, 1, 2, 3, 4]
    assert ((image.classes > 0) & (image.classes != NOT_ANNOTATED) == (image.instances > 0)).all()


def test_types_that_are_numbers_are_classes(root: Path) -> None:
    write_label_map(root / "0.tif", label_map(DISKS))
    ids = "".join(f"{number},{1 + (name == 'Glia')}\n" for number, (_, _, _, name) in enumerate(DISKS, 1))
    (root / "0.csv").write_text(f"id,class\n{ids}")
    edit(root / "dataset.yaml", "name: Neuron", "names: [1], name: Neuron")
    edit(root / "dataset.yaml", "name: Glia", "names: [2], name: Glia")
    edit(root / "dataset.yaml", "{kind: geojson}", '{kind: label-map, class_file: "{name}.csv"}')
    (root / "tiles.csv").write_text("image,annotation\n0.png,0.tif\n")

    image = first_image(root)

    assert [int(image.classes[y, x]) for x, y, _, _ in DISKS] == [1, 2, 1, 2, 2, 1]


def test_an_image_cut_from_a_slide_is_found_by_its_offset(root: Path) -> None:
    write_geojson(root / "0.geojson", [disk_feature((x + 1000, y + 500, r, name)) for x, y, r, name in DISKS])
    (root / "tiles.csv").write_text("image,annotation,x,y\n0.png,0.geojson,1000,500\n")

    assert [int(first_image(root).classes[y, x]) for x, y, _, _ in DISKS] == [1, 2, 1, 2, 2, 1]


def own_of_tiff(root: Path, *, described: str, in_table: str, in_file: float | None) -> OwnData:
    write_image(root / "0.tif", tissue(DISKS), in_file)
    edit(root / "dataset.yaml", "mpp: 0.5", f"mpp: {described}")
    (root / "tiles.csv").write_text(f"image,annotation,mpp\n0.tif,0.geojson,{in_table}\n")
    return read_own_data(root)


@pytest.mark.parametrize(
    ("described", "in_table", "in_file", "expected"),
    [
        pytest.param("0.5", "", None, (0.5, "dataset.yaml"), id="description"),
        pytest.param("null", "0.25", None, (0.25, "tiles.csv"), id="table"),
        pytest.param("null", "", 0.5, (0.5, "TIFF resolution tags"), id="file"),
        pytest.param("0.5", "0.499", 0.495, (0.499, "tiles.csv"), id="all_agree"),
    ],
)
def test_the_resolution_is_taken_from_where_it_stands(
    root: Path, described: str, in_table: str, in_file: float | None, expected: tuple[float, str]
) -> None:
    own = own_of_tiff(root, described=described, in_table=in_table, in_file=in_file)

    image = read_own_image(own, own.rows[0])

    assert (round(image.mpp, 3), image.mpp_source) == expected


@pytest.mark.parametrize(
    ("described", "in_table", "in_file", "expected"),
    [
        pytest.param("0.5", "0.25", None, ("tiles.csv, line 2: 0.25", "dataset.yaml: 0.5"), id="table_and_description"),
        pytest.param("0.5", "", 0.25, ("dataset.yaml: 0.5", "0.tif, TIFF resolution tags: 0.25"), id="file"),
        pytest.param("null", "", None, ("micrometres per pixel are not known",), id="nowhere"),
    ],
)
def test_a_resolution_that_is_contradicted_or_unknown_is_refused(
    root: Path, described: str, in_table: str, in_file: float | None, expected: tuple[str, ...]
) -> None:
    own = own_of_tiff(root, described=described, in_table=in_table, in_file=in_file)

    with pytest.raises(ContractError) as error:
        read_own_image(own, own.rows[0])

    assert all(part in str(error.value) for part in expected)


def test_a_small_image_is_refused(root: Path) -> None:
    write_image(root / "0.png", tissue((), side=63))
    write_geojson(root / "0.geojson", [])

    with pytest.raises(ContractError, match="at least 64 px on each side, found 63 x 63 px"):
        first_image(root)


@pytest.mark.real_tiles
def test_real_tiles_read_as_label_maps_equal_those_of_pannukes_layout(tmp_path: Path) -> None:
    real = Path(__file__).parents[3] / "shared" / "real_tiles"
    names = [path.stem for path in sorted((real / "classes").glob("*.png"))]
    for folder in ("images", "instances", "classes"):
        (tmp_path / folder).symlink_to(real / folder, target_is_directory=True)
    classes = "".join(
        f'  - {{name: {one.name}, color: "{one.color}", names: [{n}]}}\n' for n, one in enumerate(PANNUKE.classes, 1)
    )
    (tmp_path / "dataset.yaml").write_text(
        f"name: Real\nmpp: 0.25\nclasses:\n{classes}"
        'annotations: {kind: label-map, class_file: "../classes/{name}.png"}\n'
    )
    lines = "".join(f"images/{name}.jpg,instances/{name}.png\n" for name in names)
    (tmp_path / "tiles.csv").write_text(f"image,annotation\n{lines}")
    own = read_own_data(tmp_path)

    for row in own.rows:
        image = read_own_image(own, row)
        ids, types = (
            np.asarray(Image.open(real / kind / f"{Path(row.image).stem}.png")) for kind in ("instances", "classes")
        )
        painted = paint_channels(np.stack([np.where(types == n, ids, 0) for n in range(1, 6)], axis=2))
        assert np.array_equal(image.instances, painted.instances), row.image
        assert np.array_equal(image.classes, painted.classes), row.image
