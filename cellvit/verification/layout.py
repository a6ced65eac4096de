"""Where a run has its products, as rules/ name them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cellvit.config.settings import Settings
from cellvit.data.pannuke import FoldFiles, fold_files

ORGAN_HEAD = "organ_head"
"""Name of OrganHead among the models of a split."""


def decoder_of(family: str) -> str:
    """Name of a family's decoder among the models of a split."""
    return f"hovernet_{family}"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of the products of a run; none of them needs to be there."""

    settings: Settings

    @property
    def results(self) -> Path:
        """Output folder of the run."""
        return Path(self.settings.results)

    @property
    def folds(self) -> tuple[int, ...]:
        """Folds in use."""
        return self.settings.data.folds

    @property
    def families(self) -> tuple[str, ...]:
        """Families that have a decoder, the control among them."""
        return tuple(self.settings.decoder_families)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(self.settings.splits)

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """Split and family of every decoder."""
        return tuple((split, family) for split in self.splits for family in self.families)

    def raw(self, fold: int) -> FoldFiles:
        """Raw files of a fold."""
        return fold_files(Path(self.settings.data.root or self.results / "simulated"), fold)

    def raw_memory(self, fold: int) -> Path:
        """Remembered hashes of a fold's raw files."""
        return self.results / f".cellvit/raw_fold{fold}.json"

    @property
    def weights_memory(self) -> Path:
        """Remembered hashes of local weights of the encoder."""
        return self.results / ".cellvit/weights.json"

    def tiles(self, fold: int) -> Path:
        """Tile store of a fold."""
        return self.results / f"tiles/fold{fold}.h5"

    def features(self, fold: int) -> Path:
        """Feature store of a fold."""
        return self.results / f"features/fold{fold}.h5"

    def shards(self, fold: int) -> tuple[Path, ...]:
        """Feature stores of the shards of a fold, in order; none where folds are extracted in one piece."""
        count = self.settings.features.shards
        names = (f"fold{fold}_{number}of{count}.h5" for number in range(1, count + 1))
        return tuple(self.results / "features/shards" / name for name in names) if count > 1 else ()

    def feature_check(self, fold: int) -> Path:
        """Proof of a fold's features."""
        return self.results / f"features/fold{fold}_check.json"

    def family(self, family: str, kind: str) -> Path:
        """Features or targets of a family."""
        return self.results / f"families/{family}/{kind}.h5"

    def target_check(self, family: str) -> Path:
        """Proof of a family's targets."""
        return self.results / f"families/{family}/check.json"

    def family_seal(self, family: str, fold: int) -> Path:
        """Seal of what a family reads of a fold."""
        return self.results / f"seals/families/{family}/fold{fold}.json"

    def trained(self, split: str, model: str) -> Path:
        """Checkpoint as its training wrote it."""
        return self.results / f"checkpoints/split{split}/training/{model}.safetensors"

    def checkpoint(self, split: str, model: str) -> Path:
        """Checkpoint in its place."""
        return self.results / f"checkpoints/split{split}/{model}.safetensors"

    def watershed(self, split: str, family: str) -> Path:
        """Watershed parameters of a family."""
        return self.results / f"watershed/split{split}/{family}.json"

    def evaluation(self, split: str, name: str) -> Path:
        """Evaluation of a family, of OrganHead, or of all tiles (routed)."""
        return self.results / f"evaluation/split{split}/{name}.json"

    @property
    def summary(self) -> Path:
        """Table of every figure."""
        return self.results / "summary.csv"

    @property
    def report(self) -> Path:
        """Page of the run."""
        return self.results / "report/index.html"

    def seal(self, product: Path) -> Path:
        """Seal of a store or checkpoint."""
        return (self.results / "seals" / product.relative_to(self.results)).with_suffix(".json")

    def products(self) -> Iterator[Path]:
        """Every file that steps of this run make."""
        for fold in self.folds:
            stores = (self.tiles(fold), self.features(fold), *self.shards(fold))
            yield from (*stores, *map(self.seal, stores), self.tiles(fold).with_suffix(".json"))
            yield self.feature_check(fold)
        for family in self.families:
            yield from (self.family(family, "features"), self.family(family, "targets"), self.target_check(family))
            yield from (self.family_seal(family, fold) for fold in self.folds)
        for split in self.splits:
            yield from self._products_of(split)
        yield from (self.summary, self.summary.with_suffix(".txt"), self.summary.with_suffix(".json"), self.report)

    def _products_of(self, split: str) -> Iterator[Path]:
        for model in (ORGAN_HEAD, *map(decoder_of, self.families)):
            trained, checkpoint = self.trained(split, model), self.checkpoint(split, model)
            yield from (trained, history_of(trained), checkpoint, history_of(checkpoint), self.seal(checkpoint))
        for family in self.families:
            evaluation = self.evaluation(split, family)
            yield from (self.watershed(split, family), evaluation, tiles_of(evaluation))
        routed = self.evaluation(split, "routed")
        yield from (routed, tiles_of(routed), self.evaluation(split, ORGAN_HEAD))


def history_of(checkpoint: Path) -> Path:
    """History of the training of a checkpoint."""
    return checkpoint.with_name(f"{checkpoint.stem}_history.csv")


def tiles_of(evaluation: Path) -> Path:
    """Table of the tiles of an evaluation."""
    return evaluation.with_name(f"{evaluation.stem}_tiles.csv")
