"""Every example of docs/python_api.md runs and prints what the page says."""

import doctest
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from predictions import write_png
from small_bundle import discs, write_small_bundle

from cellvit.__main__ import main


@pytest.fixture
def folder_of_a_user(tmp_path: Path, write_tile_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle, a tile, a store of tiles and a prediction where the page has them."""
    monkeypatch.chdir(tmp_path)
    write_small_bundle(Path("results/bundles/split1"))
    write_tile_store(Path("results/tiles/fold1.h5"), 1, ("Colon", "Breast"))
    write_png(Path("tile.png"), discs(256, 256, 0)[0])
    write_png(Path("field.png"), discs(300, 280, 1)[0])
    options = ["--mpp", "0.25", "--device", "cpu", "--threads", "1", "--out", "predictions"]
    assert main(["predict", "field.png", "--model", "results/bundles/split1", *options]) == 0


@pytest.mark.usefixtures("folder_of_a_user")
def test_the_examples_of_the_page_run(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```pycon\n(.*?)```", (repository / "docs" / "python_api.md").read_text(), re.DOTALL)
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "python_api.md", None, 0)

    failed, tried = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(examples, clear_globs=False)

    assert tried > 20
    assert failed == 0, capsys.readouterr().out
