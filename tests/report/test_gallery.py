from collections.abc import Callable

import numpy as np

from cellvit.formats.tile_table import TileScores
from cellvit.inference.predictions import Segmentation
from cellvit.report.gallery import Rerun, choose_tiles, class_swatches, exhibit

Judged = Callable[..., TileScores]


def rerun(n_found: int) -> Rerun:
    instances = np.zeros((8, 8), np.int32)
    for label in range(1, n_found + 1):
        instances[2 * label - 1] = label
    classes = (instances > 0).astype(np.uint8)
    return Rerun(
        tile_id="f3-00001",
        image=np.full((8, 8, 3), 200, np.uint8),
        truth=Segmentation(instances, classes),
        found=Segmentation(instances, classes),
        np_prob=(instances > 0).astype(np.float32),
        hv=np.zeros((2, 8, 8), np.float32),
        nt_class=classes,
        np_threshold=0.5,
    )


def ranks(tiles: TileScores, per_rank: int) -> list[tuple[str, float]]:
    return [(tile.rank, tile.aji["decoder"]) for tile in choose_tiles({"decoder": tiles}, per_rank=per_rank)]


def test_best_median_and_worst_tiles_are_chosen_by_aji(judged: Judged) -> None:
    tiles = judged([0.5, 0.1, 0.9, 0.7, 0.3])

    assert ranks(tiles, 1) == [("best", 0.9), ("median", 0.5), ("worst", 0.1)]


def test_two_of_each_never_show_a_tile_twice(judged: Judged) -> None:
    tiles = judged([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])

    chosen = ranks(tiles, 2)

    assert [aji for _, aji in chosen] == [0.7, 0.6, 0.4, 0.3, 0.0, 0.1]


def test_few_tiles_are_shown_once_each(judged: Judged) -> None:
    assert ranks(judged([0.4]), 2) == [("best", 0.4)]
    assert ranks(judged([0.4, 0.2]), 2) == [("best", 0.4), ("worst", 0.2)]
    assert len(ranks(judged([0.4, 0.2, 0.3, 0.1]), 2)) == 3


def test_tiles_without_true_nuclei_are_left_out(judged: Judged) -> None:
    tiles = judged([0.0, float("nan"), 0.6], n_true=[0, 0, 5])

    assert ranks(tiles, 1) == [("best", 0.6)]


def test_a_family_without_judged_tiles_has_no_gallery() -> None:
    assert choose_tiles({}, per_rank=2) == ()


def test_baselines_of_the_same_tile_stand_beside_it(judged: Judged) -> None:
    (best, *_) = choose_tiles({"decoder": judged([0.9, 0.1, 0.5]), "classical": judged([0.2, 0.8, 0.4])}, per_rank=1)

    assert best.aji == {"decoder": 0.9, "classical": 0.2}


def test_exhibit_has_truth_prediction_and_four_maps_with_alternative_texts(judged: Judged) -> None:
    (chosen, *_) = choose_tiles({"decoder": judged([0.9])}, per_rank=1)

    shown = exhibit(chosen, rerun(n_found=3))

    assert [picture.caption for picture in shown.overlays] == ["Truth: 5 nuclei", "Prediction: 3 nuclei"]
    assert [picture.caption.split(",")[0] for picture in shown.maps] == ["NP", "HV", "HV", "NT"]
    assert all("f3-00001" in picture.alt for picture in (*shown.overlays, *shown.maps))


def test_a_picture_that_differs_from_the_evaluation_says_so(judged: Judged) -> None:
    (chosen, *_) = choose_tiles({"decoder": judged([0.9])}, per_rank=1)  # 4 nuclei found

    assert "3 nuclei instead of 4" in exhibit(chosen, rerun(n_found=3)).remark
    assert exhibit(chosen, rerun(n_found=4)).remark == ""


def test_legend_names_every_class() -> None:
    names = [swatch.name for swatch in class_swatches()]

    assert names == ["Neoplastic", "Inflammatory", "Connective", "Dead", "Epithelial", "Background"]
