"""The organ of an image, by the vote of its tiles."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from predictions import write_png
from small_bundle import discs

from cellvit.data.slides.area import whole
from cellvit.data.slides.model_pixels import ModelPixels
from cellvit.data.slides.opening import open_slide
from cellvit.formats.bundle import read_bundle
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.provenance import Provenance
from cellvit.inference.loading import Loaded
from cellvit.models.organ_head import OrganHead
from cellvit.prediction.models import Ensemble, TilePredictor, load_ensemble
from cellvit.prediction.organ import predicted_organ, voting_places

CPU = torch.device("cpu")


@pytest.fixture
def ensemble(small_bundle: Path) -> Ensemble:
    """The small bundle with an OrganHead of random weights, which votes for something."""
    found = load_ensemble([read_bundle(small_bundle)], CPU)
    torch.manual_seed(0)
    header = CheckpointHeader(
        provenance=Provenance(data_set=PANNUKE),
        kind="organ_head",
        split="1",
        status="trained",
        organs=PANNUKE.organs,
        mpp=PANNUKE.mpp,
        folds={"train": (1,)},
    )
    head = Loaded(OrganHead(found.encoder.dim, organs=len(PANNUKE.organs)).eval(), header, CPU)
    return replace(found, models=tuple(replace(model, organ_head=head) for model in found.models))


def test_all_tiles_vote_and_batches_at_the_same_time_change_nothing(tmp_path: Path, ensemble: Ensemble) -> None:
    path = write_png(tmp_path / "image.png", discs(1100, 1300, 0)[0])

    with closing(open_slide(path, mpp=0.25)) as slide:
        pixels = ModelPixels(slide, 0.25)
        places = voting_places(pixels, whole(slide))
        predictor = TilePredictor(ensemble, ())
        one, several = (predicted_organ(predictor, pixels, places, batch_size=3, lanes=lanes) for lanes in (1, 3))

    assert one == several
    assert one.n_tiles == len(places) == 4 * 5
    assert one.votes[one.organ] == max(one.votes.values())
    assert 0 < one.votes[one.organ] < 1


def test_glass_does_not_vote(tmp_path: Path, ensemble: Ensemble) -> None:
    image = np.full((512, 1024, 3), 255, np.uint8)
    image[:256, :256] = discs(256, 256, 0)[0]
    path = write_png(tmp_path / "image.png", image)

    with closing(open_slide(path, mpp=0.25)) as slide:
        pixels = ModelPixels(slide, 0.25)
        found = predicted_organ(TilePredictor(ensemble, ()), pixels, voting_places(pixels, whole(slide)))

    assert found.n_tiles == 1
