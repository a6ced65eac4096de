"""What a linear probe reads from the tokens of an encoder: share of nuclear pixels and class of each cell of the grid.

    python benchmarks/probes.py data/real_tiles [--train 1] [--test 2]

For a feature pyramid (efficientnet-lite0), levels that are standardised in each cell (`cellvit.models.pyramid`) are compared
with levels that are standardised by the statistics of the training fold. Beside them: tokens of tiny-vit with random weights.
Ridge regressions on one fold, judged on another: R2 of the share of nuclear pixels of a cell of 16 px, and balanced recall of
the class that covers most of a cell (cells with at least a quarter of nuclei, tiles of colon, which have classes). For every
row the best of a few penalties on the test fold is shown, so that rows are compared at equal care.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.data.pannuke import fold_files
from cellvit.models.encoder import load_encoder
from cellvit.models.pyramid import on_grid, standardised

GRID: Final = 16
PENALTIES: Final = (100.0, 1e3, 3e3, 1e4)
CELL_NUCLEI_PX: Final = 64
"""Nuclear pixels of a cell (of 256) from which on it has a class."""

FEWEST_CELLS: Final = 50
"""Classes with fewer cells are left out."""


class Cells(NamedTuple):
    """Ground truth of the cells of a fold: share of nuclear pixels, class of most of them, whether that is known."""

    share: Tensor
    label: Tensor
    labelled: Tensor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folds in PanNuke's layout")
    parser.add_argument("--train", type=int, default=1, help="fold on which probes are fitted")
    parser.add_argument("--test", type=int, default=2, help="fold on which they are judged")
    args = parser.parse_args()
    torch.set_num_threads(1)
    truth = tuple(cells(args.root, fold) for fold in (args.train, args.test))
    print("| tokens | width | R2 of nuclear share | balanced recall |\n|---|--:|--:|--:|")
    for name, tokens_of in ENCODERS.items():
        train, test = (tokens_of(images(args.root, fold)) for fold in (args.train, args.test))
        mean, std = train.mean(dim=0), train.std(dim=0) + 1e-9  # the probe's own: "by the fold" is that of raw levels
        train, test = ((part - mean) / std for part in (train, test))
        print(
            f"| {name} | {train.shape[1]} | {explained(train, test, *truth):.3f} | {recall(train, test, *truth):.3f} |"
        )


def images(root: Path, fold: int) -> Tensor:
    stored = np.load(fold_files(root, fold).images, mmap_mode="r")
    return torch.from_numpy(np.asarray(stored, np.uint8))


def cells(root: Path, fold: int) -> Cells:
    files = fold_files(root, fold)
    masks = torch.from_numpy(np.load(files.masks, mmap_mode="r")[..., :5] > 0)
    counts = masks.unflatten(2, (GRID, -1)).unflatten(1, (GRID, -1)).sum(dim=(2, 4)).flatten(0, 2)  # (cells, classes)
    nuclei = counts.sum(dim=1)
    colon = torch.from_numpy(np.load(files.types) == "Colon").repeat_interleave(GRID**2)
    return Cells(nuclei / (256 / GRID) ** 2, counts.argmax(dim=1), (nuclei >= CELL_NUCLEI_PX) & colon)


def vit_tokens(tiles: Tensor) -> Tensor:
    encoder = load_encoder(EncoderSettings(preset="tiny-vit", weights="random"), FeaturesSettings(), "cpu")
    return torch.cat([encoder(part).tokens for part in tiles.split(8)]).flatten(0, 3).double()


def pyramid_tokens(tiles: Tensor, prepare: Callable[[Tensor], Tensor]) -> Tensor:
    """Levels of stride 8, 16 and 32 at the grid."""
    encoder = load_encoder(EncoderSettings(preset="efficientnet-lite0"), FeaturesSettings(input_px=256), "cpu")
    grids = []
    with torch.inference_mode():
        for tile in tiles.split(1):
            levels = encoder.model.forward_intermediates(
                encoder.prepared(tile), indices=[2, 3, 4], intermediates_only=True
            )
            grids.append(torch.cat([on_grid(prepare(level), GRID) for level in levels], dim=3))
    return torch.cat(grids).flatten(0, 2).double()


def explained(train: Tensor, test: Tensor, truth: Cells, expected: Cells) -> float:
    """R2 of the share of nuclear pixels."""
    fits = ridges(train, truth.share[:, None].double(), torch.ones(len(train), dtype=torch.float64))
    errors = [(expected.share - predicted(test, fit)[:, 0]).square().mean() for fit in fits]
    return float(1 - min(errors) / expected.share.var())


def recall(train: Tensor, test: Tensor, truth: Cells, expected: Cells) -> float:
    """Mean over classes of the share of cells that are predicted right; classes weigh alike in the fit."""
    labels, wanted = truth.label[truth.labelled], expected.label[expected.labelled]
    counts = torch.bincount(labels, minlength=5)
    classes = torch.nonzero(counts >= FEWEST_CELLS)[:, 0]
    one_hot = (labels[:, None] == classes).double()
    weights = (one_hot / counts[classes]).sum(dim=1) * len(labels) / len(classes)
    best = 0.0
    for fit in ridges(train[truth.labelled], one_hot, weights):
        chosen = classes[predicted(test[expected.labelled], fit).argmax(dim=1)]
        best = max(best, float(np.mean([(chosen[wanted == c] == c).double().mean() for c in classes])))
    return best


def ridges(inputs: Tensor, targets: Tensor, weights: Tensor) -> list[Tensor]:
    """Weighted ridge regressions with a constant, one for each penalty."""
    inputs = with_constant(inputs)
    gram, moments = inputs.T @ (inputs * weights[:, None]), inputs.T @ (targets * weights[:, None])
    return [
        torch.linalg.solve(gram + penalty * torch.eye(len(gram), dtype=gram.dtype), moments) for penalty in PENALTIES
    ]


def predicted(inputs: Tensor, fit: Tensor) -> Tensor:
    return with_constant(inputs) @ fit


def with_constant(inputs: Tensor) -> Tensor:
    return torch.cat([inputs, torch.ones(len(inputs), 1, dtype=inputs.dtype)], dim=1)


ENCODERS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "tiny-vit, random weights": vit_tokens,
    "efficientnet-lite0, levels standardised by the training fold": lambda tiles: pyramid_tokens(tiles, lambda x: x),
    "efficientnet-lite0, each cell of a level standardised": lambda tiles: pyramid_tokens(tiles, standardised),
}

if __name__ == "__main__":
    main()
