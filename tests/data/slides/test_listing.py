"""The images that a user names, and their names, which are safe, unique and stable."""

import re

import pytest

from cellvit.data.slides.listing import ImageJob, images_of
from cellvit.data.slides.names import names_of
from cellvit.errors import ContractError, MissingInputError, SettingsError

HOSTILE = (
    "a b.svs", 'quo"te\'s.tif', "new\nline.png", "größe.svs", "日本.tif", "-rf.png", "..png", "...tif", "$(rm).svs", "a;b.tif",
    "index.html.svs", "x" * 200 + ".tif", "a.svs", "A.svs", "a.tif", "a.ome.tif", "con.png", "semi:colon.tif", " .svs",
)  # fmt: skip


def touched(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return [folder / name for name in names]


def test_hostile_names_become_safe_and_unique(tmp_path):
    paths = touched(tmp_path / "slides", *HOSTILE)

    names = [job.name for job in images_of(paths)]

    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name) for name in names)
    assert len({name.lower() for name in names}) == len(HOSTILE)
    assert "index.html" not in names


def test_plain_names_are_kept_and_do_not_depend_on_other_images(tmp_path):
    plain, odd, *_ = touched(tmp_path / "slides", "TCGA-A1_x.1.svs", "a b.svs", "c.ome.tif")

    alone = [images_of([path])[0].name for path in (plain, odd)]
    together = [job.name for job in images_of([tmp_path / "slides"])]

    assert alone[0] == "TCGA-A1_x.1"
    assert re.fullmatch("a-b-[0-9a-f]{8}", alone[1])
    assert together == ["TCGA-A1_x.1", alone[1], "c"]


def test_equal_file_names_in_two_folders_get_two_names(tmp_path):
    paths = touched(tmp_path / "one", "a.svs") + touched(tmp_path / "two", "a.svs", "a.tif")

    first, second = names_of(paths), names_of(paths)

    assert first == second
    assert len(set(first)) == 3
    assert all(name.startswith("a-") for name in first)


def test_folders_give_their_images_sorted_and_without_subfolders(tmp_path):
    folder = tmp_path / "slides"
    touched(folder, "b.svs", "a.TIF", "c.png", ".hidden.svs", "._b.svs", "notes.txt", "b.xml")
    touched(folder / "deeper", "d.svs")
    (folder / "folder.svs").mkdir()

    assert [job.path.name for job in images_of([folder])] == ["a.TIF", "b.svs", "c.png"]


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(MissingInputError, match="found none; folders inside are not searched"):
        images_of([tmp_path])
    with pytest.raises(MissingInputError, match="found nothing"):
        images_of([tmp_path / "none"])


def test_several_dicom_files_of_a_folder_are_not_several_slides(tmp_path):
    touched(tmp_path / "dicom", "1.dcm", "2.dcm")

    with pytest.raises(ContractError, match=r"found 2 DICOM files.*Fix: name one file of each slide"):
        images_of([tmp_path / "dicom"])


def test_tables_give_what_is_known_of_each_image(tmp_path):
    touched(tmp_path / "in", "a, b.svs", "c.tif", "r.geojson")
    table = tmp_path / "slides.csv"
    table.write_text('path,name,mpp,organ,regions\n"in/a, b.svs",first,0.5,Colon,in/r.geojson\n\nin/c.tif,,,,\n')

    assert images_of([table]) == (
        ImageJob(tmp_path / "in/a, b.svs", "first", 0.5, "Colon", tmp_path / "in/r.geojson"),
        ImageJob(tmp_path / "in/c.tif", "c"),
    )


def test_one_image_may_be_listed_twice_under_two_names(tmp_path):
    touched(tmp_path, "a.svs")
    table = tmp_path / "slides.csv"
    table.write_text("path;name\na.svs;left\na.svs;right\n")

    assert [job.name for job in images_of([table])] == ["left", "right"]
    with pytest.raises(SettingsError, match="given twice"):
        images_of([tmp_path / "a.svs", tmp_path])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("file\na.svs\n", "unknown column 'file'"),
        ("path,mmp\na.svs,1\n", "did you mean mpp"),
        ("path\n", "no image is listed"),
        ("path,name\na.svs,../x\n", "line 2, name: expected letters, digits"),
        ("path,name\na.svs,.x\n", "line 2, name: expected letters, digits"),
        ("path,name\na.svs,x\na.svs,X\n", "line 3, name: as in line 2"),
        ("path,mpp\na.svs,-1\n", "line 2, mpp: expected micrometres per pixel"),
        ("path,mpp\na.svs,nan\n", "line 2, mpp: expected micrometres per pixel"),
        ("path,name\n,x\n", "line 2, path: expected a path"),
    ],
)
def test_faults_of_a_table_are_named_by_line(tmp_path, text, found):
    touched(tmp_path, "a.svs")
    table = tmp_path / "slides.csv"
    table.write_text(text)

    with pytest.raises(ContractError, match=re.escape(found)):
        images_of([table])


def test_files_that_a_table_names_must_exist(tmp_path):
    touched(tmp_path, "a.svs")
    table = tmp_path / "slides.csv"
    table.write_text("path,regions\na.svs,r.geojson\nb.svs,\n")

    with pytest.raises(MissingInputError, match=r"2 of the files[^$]*line 2: .*r\.geojson[^$]*line 3: .*b\.svs"):
        images_of([table])
