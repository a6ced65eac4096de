"""Which annotation belongs to which image: layouts that people have."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from cellvit.data.pairing import Pairing, find_pairs
from cellvit.errors import ContractError

KINDS = {".geojson": "geojson", ".png": "label-map", ".tif": "label-map", ".mat": "matlab", ".npy": "cellpose"}


def pair(root: Path, names: str, *, members: Sequence[str] = (), kind: str | None = None) -> Pairing:
    for name in names.split():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()

    def kind_of(path: Path) -> str:
        if path.is_dir():
            return "masks"
        if path.suffix not in (*KINDS, ".json"):
            raise ContractError(f"{path}: no annotation")
        return KINDS.get(path.suffix, "coco")

    return find_pairs(root, kind_of, lambda _: members, kind=kind)


def shown(pairing: Pairing) -> list[str]:
    return [f"{one.image} {one.annotation} {one.member}".strip() for one in pairing.pairs]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param("x.png x.geojson y.png y.geojson", ["x.png x.geojson", "y.png y.geojson"], id="beside"),
        pytest.param("images/x.jpg labels/x.png", ["images/x.jpg labels/x.png"], id="parallel_folders"),
        pytest.param(
            "train/images/x.jpg train/masks/x.png", ["train/images/x.jpg train/masks/x.png"], id="below_a_set"
        ),
        pytest.param(
            "images/train/x.jpg masks/train/x.png", ["images/train/x.jpg masks/train/x.png"], id="above_a_set"
        ),
        pytest.param("x.tif x_mask.tif", ["x.tif x_mask.tif"], id="mask"),
        pytest.param("x.png x_seg.npy", ["x.png x_seg.npy"], id="cellpose"),
        pytest.param("x.png x_cp_masks.png", ["x.png x_cp_masks.png"], id="cellpose_png"),
        pytest.param("x.ome.tif x.geojson", ["x.ome.tif x.geojson"], id="ome"),
        pytest.param("x.png x.png.geojson", ["x.png x.png.geojson"], id="suffix_kept"),
        pytest.param("Images/x.png Labels/x.mat", ["Images/x.png Labels/x.mat"], id="capitals"),
        pytest.param("images/x.png exports/x.geojson", ["images/x.png exports/x.geojson"], id="another_folder"),
        pytest.param("x.png x_png_masks/1.png x_png_masks/2.png", ["x.png x_png_masks"], id="folder_of_masks"),
        pytest.param("images/x.png masks/x/1.png masks/x/2.png", ["images/x.png masks/x"], id="folder_below_masks"),
        pytest.param("a/images/a.png a/masks/1.png a/masks/2.png", ["a/images/a.png a/masks"], id="data_science_bowl"),
        pytest.param(
            "a/x.png a/x.geojson b/x.png b/x.geojson", ["a/x.png a/x.geojson", "b/x.png b/x.geojson"], id="sets"
        ),
    ],
)
def test_an_image_is_paired_with_its_annotation(tmp_path: Path, names: str, expected: list[str]) -> None:
    pairing = pair(tmp_path, names)

    assert shown(pairing) == expected
    assert (pairing.lone_images, pairing.lone_annotations, pairing.ambiguous) == ((), (), ())


def test_files_without_a_partner_are_named(tmp_path: Path) -> None:
    pairing = pair(tmp_path, "x.png x.geojson y.png z.geojson .hidden.png notes.txt")

    assert shown(pairing) == ["x.png x.geojson"]
    assert (pairing.lone_images, pairing.lone_annotations) == (("y.png",), ("z.geojson",))


def test_the_format_of_most_images_is_taken_and_the_others_are_counted(tmp_path: Path) -> None:
    pairing = pair(tmp_path, "x.png x.geojson y.png y.geojson x.mat")

    assert shown(pairing) == ["x.png x.geojson", "y.png y.geojson"]
    assert (pairing.kind, pairing.other_kinds) == ("geojson", {"matlab": 1})


def test_the_format_can_be_chosen(tmp_path: Path) -> None:
    pairing = pair(tmp_path, "x.png x.geojson y.png y.geojson x.mat", kind="matlab")

    assert shown(pairing) == ["x.png x.mat"]
    assert pairing.lone_images == ("y.png",)


def test_what_fits_twice_is_not_paired(tmp_path: Path) -> None:
    pairing = pair(tmp_path, "x.png x.geojson x_nuclei.geojson y.png y.geojson")

    assert shown(pairing) == ["y.png y.geojson"]
    assert pairing.ambiguous == ("x.png",)


def test_images_that_qupath_cut_from_a_slide_share_its_annotation(tmp_path: Path) -> None:
    for name in (
        "s [x=0,y=512,w=512,h=512].tif",
        "s [x=512,y=0,w=512,h=512].tif",
        "s [d=2,x=0,y=0,w=9,h=9].tif",
        "s.geojson",
    ):
        (tmp_path / name).touch()

    pairing = pair(tmp_path, "")

    assert {(one.x, one.y, one.annotation) for one in pairing.pairs} == {(0, 512, "s.geojson"), (512, 0, "s.geojson")}
    assert pairing.lone_images == ("s [d=2,x=0,y=0,w=9,h=9].tif",)


def test_one_file_names_all_images(tmp_path: Path) -> None:
    pairing = pair(tmp_path, "images/x.png images/y.png all.json", members=("x.png", "data/y.png", "z.png"))

    assert shown(pairing) == ["images/x.png all.json x.png", "images/y.png all.json data/y.png"]
    assert pairing.kind == "coco"


def test_files_of_classes_belong_to_label_maps_and_are_no_annotations(tmp_path: Path) -> None:
    pairing = pair(tmp_path, "images/x.jpg instances/x.png classes/x.png images/y.jpg instances/y.png classes/y.png")

    assert shown(pairing) == ["images/x.jpg instances/x.png", "images/y.jpg instances/y.png"]
    assert (pairing.class_file, pairing.n_class_files) == ("../classes/{name}.png", 2)


@pytest.mark.parametrize("name", ["x_inst_class.png", "x_inst.csv", "x_inst_type.npy"])
def test_files_of_classes_beside_a_label_map_are_found(tmp_path: Path, name: str) -> None:
    pairing = pair(tmp_path, f"x.jpg x_inst.png {name}")

    assert pairing.class_file == name.replace("x_inst", "{name}")


def test_files_of_classes_that_some_images_lack_are_counted(tmp_path: Path) -> None:
    pairing = pair(tmp_path, "x.jpg x_inst.png x_inst_class.png y.jpg y_inst.png")

    assert (pairing.class_file, pairing.n_class_files, len(pairing.pairs)) == ("{name}_class.png", 1, 2)


def test_files_that_are_no_annotations_are_reported(tmp_path: Path) -> None:
    pairing = pair(tmp_path, "x.png x.geojson x.xml")

    assert [fault.endswith("x.xml: no annotation") for fault in pairing.unreadable] == [True]


def test_arrays_of_images_are_paired_row_by_row(tmp_path: Path) -> None:
    for name in ("images.npy", "labels.npy"):
        (tmp_path / name).touch()

    pairing = find_pairs(tmp_path, lambda _: "conic", lambda _: ("0", "1", "10", "2"))

    assert [one.member for one in pairing.pairs] == ["0", "1", "2", "10"]
    assert {(one.image, one.annotation) for one in pairing.pairs} == {("images.npy", "labels.npy")}


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "again").symlink_to(tmp_path, target_is_directory=True)

    pairing = pair(tmp_path, "data/x.png data/x.geojson")

    assert shown(pairing) == ["data/x.png data/x.geojson"]


def test_an_empty_folder_has_no_pairs(tmp_path: Path) -> None:
    pairing = pair(tmp_path, "")

    assert (pairing.pairs, pairing.kind) == ((), "")
