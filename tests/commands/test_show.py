"""The command `show`: the page before training."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from own_folders import DISKS, described_folder, disk_feature, feature, tissue, write_geojson, write_image
from PIL import Image

from cellvit.__main__ import main
from cellvit.formats.digests import check_unchanged
from cellvit.formats.page import page_digest, read_page_provenance

YELLOW, CYAN = (0xF0, 0xE4, 0x42), (0x35, 0xE0, 0xF0)


def page_of(root: Path, *options: str) -> str:
    assert main(["show", str(root), "--out", str(root.parent / "page.html"), *options]) == 0
    return (root.parent / "page.html").read_text()


def pictures(page: str) -> list[np.ndarray]:
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(code))))
        for code in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    ]


def near(picture: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((np.abs(picture.astype(int) - color).max(axis=2) < 40).sum())


def test_the_page_is_one_file_with_counts_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = described_folder(tmp_path / "brain")

    page = page_of(root)

    assert "2 images, 12 nuclei; 0 images cannot be read, 0 are worth a look first." in capsys.readouterr().out
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert '<td class="prose">Neuron (6)</td>' in page
    assert "<caption>Nuclei by patient</caption>" in page
    assert "128 x 128" in page
    assert "0.5 (dataset.yaml)" in page
    assert "Nothing was dropped or changed." in page
    assert "Nothing suspicious was found by the numbers." in page
    assert len(pictures(page)) == 4
    check_unchanged(root.parent / "page.html", page_digest(root.parent / "page.html"))
    assert sorted(read_page_provenance(root.parent / "page.html").made_from) == [
        "brain/dataset.yaml",
        "brain/tiles.csv",
    ]


def test_contours_have_the_colours_of_the_classes_and_the_plain_image_has_none(tmp_path: Path) -> None:
    plain, contours = pictures(page_of(described_folder(tmp_path / "brain", 1)))

    assert plain.shape == (128, 128, 3)
    assert contours.shape == (1024, 1024, 3)
    assert (near(plain, YELLOW), near(plain, CYAN)) == (0, 0)
    assert near(contours, YELLOW) > 500
    assert near(contours, CYAN) > 500


def test_every_picture_has_a_scale_bar_by_the_resolution_of_its_image(tmp_path: Path) -> None:
    page = page_of(described_folder(tmp_path / "brain", 1))  # 128 px of 0.5 um

    assert page.count('style="width: 31.25%"></div><figcaption>20 µm</figcaption>') == 2


def test_regions_that_are_not_annotated_are_dimmed(tmp_path: Path) -> None:
    root = described_folder(tmp_path / "brain", 1)
    ignored = feature([(0, 0), (128, 0), (128, 50), (0, 50)], "Ignore*")
    write_geojson(root / "0.geojson", [ignored, *map(disk_feature, DISKS)])

    page = page_of(root)

    corners = (picture[: len(picture) // 8, : len(picture) // 8] for picture in pictures(page))
    plain, contours = (corner.reshape(-1, 3).mean(axis=0) for corner in corners)
    assert np.ptp(contours) < 0.5 * np.ptp(plain)  # nearer to grey
    assert "not annotated (dimmed)" in page


def test_a_mirrored_annotation_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = described_folder(tmp_path / "brain", 3)
    disks = [(x, y, radius, name) for x, y, radius, name in DISKS[:4]] + [(64, 100, 9, "Glia")]
    write_image(root / "2.png", tissue(disks))
    write_geojson(root / "2.geojson", [disk_feature((x, 127 - y, radius, name)) for x, y, radius, name in disks])

    page = page_of(root, "--images", "1")

    assert "1 are worth a look first" in capsys.readouterr().out
    assert '<a href="#image0">2.png</a>: Its contours do not lie on nuclei (contrast' in page
    assert "<h3>2.png</h3>" in page
    assert len(pictures(page)) == 2


def test_images_that_cannot_be_read_are_named_and_the_others_shown(tmp_path: Path) -> None:
    root = described_folder(tmp_path / "brain")
    (root / "1.geojson").write_text("{")

    page = page_of(root)

    assert "1 of 2 images cannot be read; a run stops at them" in page
    assert f"{root / '1.geojson'}: " in page
    assert len(pictures(page)) == 2


def test_what_was_dropped_is_counted_with_the_worst_files(tmp_path: Path) -> None:
    root = described_folder(tmp_path / "brain")
    write_geojson(root / "1.geojson", [*map(disk_feature, DISKS), *map(disk_feature, DISKS[:2])])

    page = page_of(root)

    assert "nuclei with exactly the pixels and the class of another were left out" in page
    assert '<td class="prose">1.geojson (2)</td>' in page


def test_names_of_files_and_classes_are_text_and_never_html(tmp_path: Path) -> None:
    root = described_folder(tmp_path / "brain", 1)
    description = (root / "dataset.yaml").read_text()
    (root / "dataset.yaml").write_text(description.replace("name: Brain", "name: '<script>x</script>'"))

    page = page_of(root)

    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_page_can_be_written_elsewhere(tmp_path: Path) -> None:
    root = described_folder(tmp_path / "brain", 1)

    code = main(["show", str(root), "--out", str(tmp_path / "pages/look.html"), "--images", "0"])

    assert code == 0
    assert read_page_provenance(tmp_path / "pages/look.html").made_from.keys() == {
        "../brain/dataset.yaml",
        "../brain/tiles.csv",
    }


def test_the_same_data_give_the_same_page(tmp_path: Path) -> None:
    root = described_folder(tmp_path / "brain")

    assert page_of(root) == page_of(root)


def test_a_folder_without_a_description_names_the_command_that_drafts_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(tmp_path)]) == 3
    assert f"dataset.yaml: the file does not exist. Fix: cellvit init_dataset {tmp_path}" in capsys.readouterr().err
