"""The command `init_dataset`: what it prints, and that its drafts can be read once they are filled in."""

import re
from pathlib import Path

import pytest
from own_folders import (
    DISKS,
    disk_feature,
    feature,
    geojson_folder,
    label_map,
    tissue,
    write_geojson,
    write_image,
    write_label_map,
)

from cellvit.__main__ import main
from cellvit.data.own_data import read_own_data
from cellvit.data.own_images import read_own_image
from cellvit.errors import ContractError
from cellvit.formats.dataset import NOT_ANNOTATED


def filled_in(root: Path, **values: str) -> None:
    path = root / "dataset.yaml"
    text = path.read_text()
    for name, value in values.items():
        text, n = re.subn(rf'(?m)^{name}: "\?"$', f"{name}: {value}", text)
        assert n == 1, f"{name} is not open"
    path.write_text(text)


def test_a_folder_of_geojson_is_described_in_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = geojson_folder(tmp_path / "brain")
    write_image(root / "spare.png", tissue(()))

    code = main(["init_dataset", str(root)])

    text = capsys.readouterr().out
    assert code == 0
    assert "2 images with annotations (geojson, 2 files)" in text
    assert "images without annotation, left out:\n    spare.png\n" in text
    assert "    128 x 128: 2 images\n" in text
    assert "    none: 2 images\n" in text
    assert "    Glia: 6, median" in text
    assert f"open in {root / 'dataset.yaml'}: mpp, licence." in text
    assert text.endswith(f"python -m cellvit show {root}\n")


def test_a_run_refuses_the_draft_by_the_names_of_its_open_fields(tmp_path: Path) -> None:
    root = geojson_folder(tmp_path / "brain")
    main(["init_dataset", str(root)])

    with pytest.raises(ContractError) as error:
        read_own_data(root)

    assert re.findall(r"(?m)^  (\w+): still open", str(error.value)) == ["mpp", "licence"]


def test_the_draft_can_be_read_once_it_is_filled_in(tmp_path: Path) -> None:
    root = geojson_folder(tmp_path / "brain")
    main(["init_dataset", str(root)])
    filled_in(root, mpp="0.5", licence="CC0")

    own = read_own_data(root)

    assert (own.description.name, own.description.class_numbers) == ("brain", {"Glia": 1, "Neuron": 2})
    assert [int(read_own_image(own, row).instances.max()) for row in own.rows] == [len(DISKS)] * 2


def test_a_resolution_that_all_images_state_is_not_asked_for(tmp_path: Path) -> None:
    root = tmp_path / "brain"
    for name, mpp in (("a", 0.5), ("b", 0.25)):
        write_image(root / f"{name}.tif", tissue(DISKS), mpp)
        write_geojson(root / f"{name}.geojson", [disk_feature(disk) for disk in DISKS])

    main(["init_dataset", str(root)])
    filled_in(root, licence="CC0")

    own = read_own_data(root)
    assert own.description.mpp is None
    assert [round(read_own_image(own, row).mpp, 3) for row in own.rows] == [0.5, 0.25]


def test_one_resolution_of_all_images_is_filled_in(tmp_path: Path) -> None:
    root = tmp_path / "brain"
    write_image(root / "a.tif", tissue(DISKS), 0.5)
    write_geojson(root / "a.geojson", [disk_feature(disk) for disk in DISKS])

    main(["init_dataset", str(root)])

    text = (root / "dataset.yaml").read_text()
    assert "\nmpp: 0.5\n" in text
    assert "# Found: every image states it: 1 images with 0.5." in text


def test_label_maps_without_classes_become_one_class(tmp_path: Path) -> None:
    root = tmp_path / "maps"
    write_image(root / "images/a.png", tissue(DISKS))
    write_label_map(root / "labels/a.tif", label_map(DISKS))

    main(["init_dataset", str(root)])
    filled_in(root, mpp="0.5", licence="CC0")

    own = read_own_data(root)
    assert own.description.unlabelled == "Nucleus"
    assert int(read_own_image(own, own.rows[0]).classes.max()) == 1


def test_nuclei_without_a_class_beside_others_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "brain"
    write_image(root / "a.png", tissue(DISKS))
    x, y, radius, _ = DISKS[0]
    write_geojson(root / "a.geojson", [disk_feature((x, y, radius, "")), *map(disk_feature, DISKS[1:])])

    main(["init_dataset", str(root)])

    assert "mpp, unlabelled, licence." in capsys.readouterr().out
    assert "# Found: 1 nuclei have no class.\n" in (root / "dataset.yaml").read_text()


def test_spellings_of_a_class_become_one_class_and_numbers_get_a_name(tmp_path: Path) -> None:
    root = tmp_path / "brain"
    write_image(root / "a.png", tissue(DISKS))
    names = ("Glia", "glia", "Glia", "7", "7", "7")
    disks = [(x, y, radius, name) for (x, y, radius, _), name in zip(DISKS, names, strict=True)]
    write_geojson(root / "a.geojson", [disk_feature(disk) for disk in disks])

    main(["init_dataset", str(root)])
    filled_in(root, mpp="0.5", licence="CC0")

    description = read_own_data(root).description
    assert {entry.name: entry.written for entry in description.classes} == {"Class 7": ("7",), "Glia": ("Glia", "glia")}


def test_regions_of_qupath_are_no_class_and_outside_of_them_nothing_counts(tmp_path: Path) -> None:
    root = tmp_path / "slides"
    shifted = [disk_feature((x + 512, y, radius, name)) for x, y, radius, name in DISKS]
    write_image(root / "s [x=512,y=0,w=128,h=128].png", tissue(DISKS))
    region = feature([(512, 0), (640, 0), (640, 80), (512, 80)], "Region*")
    write_geojson(root / "s.geojson", [region, *shifted])

    main(["init_dataset", str(root)])
    filled_in(root, mpp="0.5", licence="CC0")

    own = read_own_data(root)
    image = read_own_image(own, own.rows[0])
    assert (own.rows[0].x, own.rows[0].y) == (512, 0)
    assert own.description.annotations.region_classes == ("Region*",)
    assert [entry.name for entry in own.description.classes] == ["Glia", "Neuron"]
    assert int(image.instances.max()) == 4
    assert (image.classes[110:] == NOT_ANNOTATED).all()


def test_what_cannot_be_read_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = geojson_folder(tmp_path / "brain")
    (root / "1.png").write_bytes(b"<html>")

    code = main(["init_dataset", str(root)])

    assert code == 0
    assert (
        f"images or annotations that cannot be read:\n    {root / '1.png'}: expected an image"
        in capsys.readouterr().out
    )


def test_existing_files_are_not_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = geojson_folder(tmp_path / "brain")
    (root / "tiles.csv").write_text("mine")

    code = main(["init_dataset", str(root)])

    error = capsys.readouterr().err
    assert code == 4
    assert (root / "tiles.csv").read_text() == "mine"
    assert not (root / "dataset.yaml").exists()
    command = error.partition("python -m cellvit ")[2].split()
    assert main(command) == 0
    assert (root / "tiles.csv").read_text().startswith("image,annotation,organ,patient,fold\n0.png,0.geojson,,,\n")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("absent", "the folder does not exist. Fix: correct its name", id="absent"),
        pytest.param("", "no image with", id="empty"),
    ],
)
def test_a_folder_without_images_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, expected: str
) -> None:
    assert main(["init_dataset", str(tmp_path / name)]) == 3
    assert expected in capsys.readouterr().err
