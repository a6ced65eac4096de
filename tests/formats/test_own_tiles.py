"""`tiles.csv`: what it accepts, what it refuses, and in which words."""

import csv
from pathlib import Path

import pytest

from cellvit.errors import ContractError, MissingInputError
from cellvit.formats.own_tiles import OwnTile, read_own_tiles, write_own_tiles


def table(folder: Path, text: str) -> Path:
    for name in ("a.png", "b.png", "a.geojson", "b.geojson"):
        (folder / name).touch()
    path = folder / "tiles.csv"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    path = table(folder, text)
    with pytest.raises(ContractError) as error:
        read_own_tiles(path)
    return str(error.value)


def test_every_column_is_read(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "image,annotation,organ,patient,fold,mpp,source,member,x,y\n"
        "a.png,a.geojson,Cortex,P 1,1,0.5,Lab A,,1024,-8.5\n"
        "./b.png,b.geojson,Cortex,,2,,,second,0,0\n",
    )

    assert read_own_tiles(path) == (
        OwnTile("a.png", "a.geojson", "Cortex", "P 1", 1, 0.5, "Lab A", "", 1024.0, -8.5, line=2),
        OwnTile("b.png", "b.geojson", "Cortex", "", 2, None, "", "second", 0.0, 0.0, line=3),
    )


def test_two_columns_are_enough(tmp_path: Path) -> None:
    path = table(tmp_path, "image,annotation\na.png,a.geojson\n\n")

    assert read_own_tiles(path) == (OwnTile("a.png", "a.geojson", line=2),)


@pytest.mark.parametrize("sign", [";", "\t"])
def test_tables_of_spreadsheets_are_read(tmp_path: Path, sign: str) -> None:
    path = table(tmp_path, f'\ufeffimage{sign}annotation{sign}patient\r\n a.png{sign}a.geojson{sign}"P, 1"\r\n')

    assert read_own_tiles(path) == (OwnTile("a.png", "a.geojson", patient="P, 1", line=2),)


def test_a_table_that_was_written_is_read_back(tmp_path: Path) -> None:
    path = table(tmp_path, "")
    tiles = (
        OwnTile("a.png", "a.geojson", "Cortex", 'P "1", left', 1, 0.4987, x=12.5, line=2),
        OwnTile("b.png", "b.geojson", "Glia", "", 2, line=3, y=3.0),
    )

    write_own_tiles(path, tiles)

    assert read_own_tiles(path) == tiles


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("image,anotation\n", "unknown column 'anotation'; did you mean annotation?", id="misspelled"),
        pytest.param("image,anotation\n", "the column 'annotation' is missing", id="missing_column"),
        pytest.param("image,annotation,image\n", "the column 'image' occurs twice", id="column_twice"),
        pytest.param("image,annotation,x\n", "the columns x and y belong together", id="x_alone"),
        pytest.param("", "the column 'image' is missing", id="empty_file"),
        pytest.param("image,annotation\n", "no image is listed", id="no_lines"),
        pytest.param("image,annotation\na.png\n", "line 2: expected 2 cells, found 1", id="too_few_cells"),
        pytest.param("image,annotation\na.png,\n", "line 2, annotation: expected a path, found nothing", id="no_path"),
        pytest.param("image,annotation\n/a.png,a.geojson\n", "line 2, image: expected a path from", id="absolute"),
        pytest.param("image,annotation\nb/../a.png,a.geojson\n", "without .. in it", id="parent"),
        pytest.param(f"image,annotation\n{'a' * 127}.png,a.geojson\n", "a path of at most 130 bytes", id="long_path"),
        pytest.param("image,annotation\nb\\a.png,a.geojson\n", 'expected "/" between folders', id="backslash"),
        pytest.param("image,annotation,mpp\na.png,a.geojson,?\n", "line 2, mpp: still open", id="open"),
        pytest.param("image;annotation;mpp\na.png;a.geojson;0,5\n", 'a number with "." before', id="comma"),
        pytest.param("image,annotation,mpp\na.png,a.geojson,250\n", "from 0.05 to 10, found '250'", id="nanometres"),
        pytest.param("image,annotation,mpp\na.png,a.geojson,nan\n", "from 0.05 to 10, found 'nan'", id="nan"),
        pytest.param("image,annotation,x,y\na.png,a.geojson,inf,0\n", "line 2, x: expected a finite", id="inf"),
        pytest.param("image,annotation,x,y\na.png,a.geojson,,\n", "the column 'x' is empty", id="empty_x"),
        pytest.param("image,annotation,fold\na.png,a.geojson,1.0\n", "a whole number from 1", id="fold_1.0"),
        pytest.param("image,annotation,fold\na.png,a.geojson,0\n", "a whole number from 1", id="fold_0"),
        pytest.param("image,annotation,organ\na.png,a.geojson," + "x" * 65, "at most 64 bytes", id="long"),
        pytest.param("image,annotation,organ\na.png,a.geojson,a\x07b", "expected printable text", id="bell"),
        pytest.param('image,annotation\n"a.png,a.geojson\n', "cannot be read as a CSV table", id="open_quote"),
        pytest.param(
            "image,annotation,fold\na.png,a.geojson,1\nb.png,b.geojson,3\n", "no image in fold 2", id="gap_in_folds"
        ),
        pytest.param(
            "image,annotation,fold\na.png,a.geojson,1\nb.png,b.geojson,\n", "line 3, fold: empty", id="half_of_folds"
        ),
        pytest.param(
            "image,annotation,organ\na.png,a.geojson,Lung\nb.png,b.geojson,\n",
            "line 3, organ: empty",
            id="half_of_organs",
        ),
        pytest.param(
            "image,annotation,organ\na.png,a.geojson,Lung\nb.png,b.geojson,lung\n",
            "organ: 'Lung' and 'lung' differ in upper and lower case only",
            id="two_spellings",
        ),
        pytest.param(
            "image,annotation\n{fold}.png,a.geojson\n",
            "line 2, image: expected a path without { and }, which Snakemake replaces; rename the file or folder, found '{fold}.png'",
            id="braces",
        ),
        pytest.param(
            "image,annotation\na.png,a.geojson\n./a.png,b.geojson\n",
            "line 3: the image 'a.png' is already in line 2",
            id="image_twice",
        ),
        pytest.param(
            "image,annotation\na.png,a.geojson\nb.png,a.geojson\n",
            "line 3: the annotation 'a.geojson' is already in line 2",
            id="annotation_twice",
        ),
    ],
)
def test_a_fault_is_refused_by_name(tmp_path: Path, text: str, expected: str) -> None:
    message = refusal(tmp_path, text)

    assert expected in message
    assert str(tmp_path / "tiles.csv") in message


def test_no_text_of_a_table_is_a_formula_to_a_spreadsheet(tmp_path: Path) -> None:
    (tmp_path / "=a.png").touch()
    (tmp_path / "a.json").touch()
    formula = "=HYPERLINK(1)"
    tile = OwnTile("=a.png", "a.json", "@organ", formula, source="+1", member="-x", line=2)

    write_own_tiles(tmp_path / "tiles.csv", [tile])

    (_, cells) = csv.reader((tmp_path / "tiles.csv").read_text().splitlines())
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    assert read_own_tiles(tmp_path / "tiles.csv") == (tile,)


def test_a_path_that_begins_with_a_blank_is_read_back(tmp_path: Path) -> None:
    for name in (" a.png", " a.geojson"):
        (tmp_path / name).touch()
    write_own_tiles(tmp_path / "tiles.csv", [OwnTile(" a.png", " a.geojson")])

    (found,) = read_own_tiles(tmp_path / "tiles.csv")

    assert (found.image, found.annotation) == (" a.png", " a.geojson")


def test_one_annotation_serves_several_images_at_different_places(tmp_path: Path) -> None:
    path = table(tmp_path, "image,annotation,x,y\na.png,a.geojson,0,0\nb.png,a.geojson,512,0\n")

    assert [tile.x for tile in read_own_tiles(path)] == [0, 512]


def test_many_faults_are_counted_and_ten_are_listed(tmp_path: Path) -> None:
    message = refusal(tmp_path, "image,annotation,fold\n" + "a.png,a.geojson,x\n" * 14)

    assert message.count("expected a whole number") == 10
    assert "  and 4 more\n" in message


def test_a_million_columns_are_refused_in_seconds(tmp_path: Path) -> None:
    header = ",".join(f"column {number}" for number in range(10**6))

    message = refusal(tmp_path, f"image,annotation,{header}\na.png,a.geojson\n")

    assert "unknown column 'column 0'" in message
    assert "  and 999990 more\n" in message


def test_files_that_do_not_exist_are_listed_and_counted(tmp_path: Path) -> None:
    lines = "".join(f"{number}.png,{number}.geojson\n" for number in range(6))
    path = table(tmp_path, f"image,annotation\na.png,a.geojson\n{lines}")

    with pytest.raises(MissingInputError) as error:
        read_own_tiles(path)

    message = str(error.value)
    assert "12 of the files that it names do not exist" in message
    assert "line 3: 0.png\n  line 3: 0.geojson\n" in message
    assert "  and 2 more\n" in message


def test_a_missing_table_names_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="python -m cellvit init_dataset"):
        read_own_tiles(tmp_path / "tiles.csv")
