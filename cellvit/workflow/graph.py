"""Lookups of the rules: settings and code of a step, folds of a split, raw files, memory and time that a step asks for."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cellvit.config.data import FINAL_SPLIT
from cellvit.config.encoders import PUBLISHED, RANDOM
from cellvit.config.models import SHARED
from cellvit.config.settings import Settings
from cellvit.config.steps import step_settings
from cellvit.data.own_data import OwnData
from cellvit.data.pannuke import SIMULATED_MARK, fold_files
from cellvit.errors import SettingsError
from cellvit.formats.dataset import PANNUKE, DataSet
from cellvit.taxonomy import SHARED_FAMILY, base_family
from cellvit.workflow.cache import FOLDER
from cellvit.workflow.data_set import own_data_of, settings_for
from cellvit.workflow.resources import PANNUKE_FOLD_TILES, TILES_OF_IMAGE, memory_mb, runtime_min, weights_mb
from cellvit.workflow.start_file import start_file

ForJob = Callable[[Any], Any]
"""Function of a job's wildcards, as Snakemake calls it for `input` and `params`."""

ForAttempt = Callable[[Any, int], int]
"""Function of a job's wildcards and its attempt, for `resources`."""


@dataclass(frozen=True, slots=True)
class Graph:
    """What the rules look up in the settings of a run.

    Attributes:
        settings: As they hold for the data set.
        dataset: Classes, organs and resolution of the tiles.
        own: The data set of the user's own that the settings name; None for PanNuke's layout.
        memory_percent: Share of the memory that steps ask for on this cluster; `runtime_percent` likewise.
    """

    settings: Settings
    memory_percent: int = 100
    runtime_percent: int = 100
    dataset: DataSet = PANNUKE
    own: OwnData | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "own", own_data_of(self.settings))
        object.__setattr__(self, "settings", settings_for(self.settings, self.dataset))
        results = Path(self.settings.results).resolve()
        for family in self.trained:
            start = self.start_file(family)
            if start and Path(start).resolve().is_relative_to(results):
                raise SettingsError(
                    f"training.start_from: {start} is in the output folder of the run ({self.settings.results}), where the "
                    f"run replaces it. Fix: copy the file to another folder, or set results to another one"
                )

    @property
    def has_organ_head(self) -> bool:
        """Whether OrganHead is trained, and chooses the decoder of a tile."""
        return self.settings.has_organ_head

    @property
    def is_own(self) -> bool:
        """Whether the run reads a data set of the user's own, and not folds in PanNuke's layout."""
        return self.own is not None

    @property
    def own_files(self) -> list[str]:
        """Every file of the data set of the user's own."""
        return [str(path) for path in self.own.files] if self.own else []

    @property
    def data_root(self) -> str:
        """Folder of the raw folds; simulated ones are in the output folder."""
        return self.settings.data.root or f"{self.settings.results}/simulated"

    @property
    def raw(self) -> dict[str, str]:
        """Files of a raw fold by name, with the wildcard {fold}."""
        return {name: str(path) for name, path in fold_files(Path(self.data_root), "{fold}").by_name.items()}

    @property
    def simulated_mark(self) -> str:
        """File that marks a raw fold as simulated."""
        return f"{self.data_root}/Fold {{fold}}/{SIMULATED_MARK}"

    @property
    def names(self) -> dict[str, ForJob]:
        """Files with the patient and with the source of each tile of a raw fold, where they exist; for `input`."""
        files = fold_files(Path(self.data_root), "{fold}")
        return {kind: self.where_present(str(getattr(files, kind))) for kind in ("patients", "sources")}

    @property
    def weights(self) -> list[str]:
        """Local file or folder of the encoder's weights; nothing for published weights and random ones."""
        weights = self.settings.encoder.weights
        return [] if weights in {PUBLISHED, RANDOM} else [weights]

    @property
    def cache(self) -> tuple[str, float]:
        """Folder of the result cache ("" where it is switched off), and its limit in GB."""
        cache, results = self.settings.cache, Path(self.settings.results)
        return (str(results.parent / FOLDER) if cache.enabled else "", cache.max_gb)

    @property
    def features_removed(self) -> bool:
        """True after `clean_features`: features are then made again only where a step needs them."""
        return removed_marker(Path(self.settings.results)).exists()

    def step(self, name: str) -> ForJob:
        """Settings that a step reads, as JSON; for `params`."""
        return lambda wildcards: step_settings(self.settings, name, getattr(wildcards, "family", ""))

    def split_of(self, wildcards: Any) -> str:
        """Split of a job; that of the final models, whose paths name none; for `params`."""
        return getattr(wildcards, "split", FINAL_SPLIT)

    def roles(self, wildcards: Any) -> Mapping[str, tuple[int, ...]]:
        """Folds by role in the split of a job; all folds train the final models, so that none is left to test them."""
        split = self.split_of(wildcards)
        return {"train": self.settings.data.folds} if split == FINAL_SPLIT else self.settings.splits[split].roles

    def folds(self, *roles: str) -> ForJob:
        """Folds that have one of `roles` in the split of a job, in that order; for `params`."""
        return lambda wildcards: [fold for role in roles for fold in self.roles(wildcards).get(role, ())]

    @property
    def validated_folds(self) -> list[int]:
        """Folds that validate in any split."""
        return sorted({fold for split in self.settings.splits.values() for fold in split.validate_})

    def of_folds(self, path: str, *roles: str) -> ForJob:
        """`path` for each fold that has one of `roles` in the split of a job; for `input`.

        {base_family} in `path` is the family of a decoder without the seed that it was trained again with.
        """
        folds = self.folds(*roles)

        def found(wildcards: Any) -> list[str]:
            names = {**dict(wildcards.items()), "base_family": base_family(getattr(wildcards, "family", ""))}
            return [path.format(fold=fold, **names) for fold in folds(wildcards)]

        return found

    def of_families_and_folds(self, path: str, *roles: str) -> ForJob:
        """`path` for every decoder's {family}, and of each for the folds that have one of `roles`; for `input`."""
        found = [self.of_folds(path.replace("{family}", family), *roles) for family in self.settings.decoder_families]
        return lambda wildcards: [file for of_family in found for file in of_family(wildcards)]

    def where_present(self, path: str) -> ForJob:
        """`path` where the file, or a link to a file that was removed, exists; for `input`."""
        return lambda wildcards: [found] if os.path.lexists(found := path.format(**dict(wildcards.items()))) else []

    def memory(self, name: str) -> ForAttempt:
        """Memory that a step asks for, by its tiles and the attempt, in MB; for `resources`."""
        spec = self.settings.encoder.spec
        weights = weights_mb(spec.depth, spec.dim)
        return lambda wildcards, attempt: memory_mb(
            name, self._n_tiles(wildcards), attempt, weights_mb=weights, percent=self.memory_percent
        )

    def minutes(self, name: str, *, times: int = 1, tiles: ForJob | None = None) -> ForAttempt:
        """Time that a step asks for, in minutes; for `resources`.

        Args:
            times: How often the step reads each of its tiles.
            tiles: Number of tiles of a job, if it is another one.
        """
        n_tiles = tiles or self._n_tiles
        return lambda wildcards, attempt: runtime_min(
            name, n_tiles(wildcards) * times, attempt, percent=self.runtime_percent
        )

    def tiles_trained(self, wildcards: Any) -> int:
        """Tiles of all steps of a training, and of its passes over the validation folds; for `minutes`."""
        training = self.settings.of_family(wildcards.family).training
        organs = self.settings.organs_of(wildcards.family)
        train, validate = (
            sum(self._n_tiles_of_fold(fold, organs) for fold in self.folds(role)(wildcards))
            for role in ("train", "validate")
        )
        n_steps = training.n_steps(train)
        return n_steps * training.batch_size + -(-n_steps // training.validate_every) * validate

    def start_file(self, family: str) -> str:
        """Checkpoint that the settings name as the start of a decoder; empty if they name none."""
        return start_file(self.settings, family)

    def start(self, path: str) -> ForJob:
        """Checkpoint that the decoder of a job starts from: a file, or `path` of the shared decoder; for `input`."""

        def found(wildcards: Any) -> list[str]:
            if file := self.start_file(wildcards.family):
                return [file]
            training = self.settings.of_family(wildcards.family).training
            shared = self._shared_decoder_of(wildcards.family)
            names = {"split": self.split_of(wildcards), "family": shared}
            return [path.format(**names)] if shared and training.start_from == SHARED else []

        return found

    def unseen(self, path: str) -> ForJob:
        """`path` for each test fold, which the file that a decoder starts from must not have seen; for `input`."""
        test = self.of_folds(path, "test")
        return lambda wildcards: test(wildcards) if self.start_file(wildcards.family) else []

    def of_shared_decoder(self, path: str) -> ForJob:
        """`path` of the shared decoder with the seed of a job's decoder, unless it is one itself or none is trained; for `input`."""

        def found(wildcards: Any) -> list[str]:
            shared = self._shared_decoder_of(wildcards.family)
            return [path.format(split=wildcards.split, family=shared)] if shared in self.trained else []

        return found

    def _shared_decoder_of(self, family: str) -> str:
        """The shared decoder with the same seed; empty for a shared decoder itself."""
        base = base_family(family)
        return "" if base == SHARED_FAMILY else family.replace(base, SHARED_FAMILY, 1)

    @property
    def trained(self) -> list[str]:
        """Decoders of a split: those of the families, the shared one, then all of them again for each further seed."""
        return [*self.settings.decoder_families, *self.settings.repeats]

    @property
    def averaged(self) -> list[str]:
        """Decoders whose maps are averaged over the views of a tile."""
        return [family for family in self.trained if self.settings.of_family(family).watershed.average_views]

    def maps(self, path: str, *, averaged: str) -> ForJob:
        """Maps from which the decoding of a job is tuned: `path`, or `averaged` for these families; for `input`.

        A final model has no validation tiles, so that its decoding is tuned on the maps of all splits.
        """
        families = self.averaged

        def found(wildcards: Any) -> list[str]:
            chosen = averaged if wildcards.family in families else path
            splits = [wildcards.split] if hasattr(wildcards, "split") else self.settings.splits
            return [chosen.format(split=split, family=wildcards.family) for split in splits]

        return found

    def _n_tiles(self, wildcards: Any) -> int:
        """Tiles that a job reads at most: of its fold, of the folds of its split or of all; of its family if it has one."""
        family, split = getattr(wildcards, "family", None), getattr(wildcards, "split", None)
        organs = self.settings.organs_of(family) if family else None
        folds = {fold for used in self.settings.splits[split].roles.values() for fold in used} if split else None
        if hasattr(wildcards, "fold"):
            folds = {int(wildcards.fold)}
        return sum(self._n_tiles_of_fold(fold, organs) for fold in folds or self.settings.data.folds)

    def _n_tiles_of_fold(self, fold: int, organs: tuple[str, ...] | None) -> int:
        """Tiles of a fold as its summary counts them; a guess where the fold is not prepared yet."""
        summary = Path(self.settings.results, "tiles", f"fold{fold}.json")
        if not summary.exists():
            simulated = self.settings.data.simulated
            if self.own:
                return len(self.own.rows) * TILES_OF_IMAGE // len(self.settings.data.folds)
            return simulated.tiles_per_fold if simulated else PANNUKE_FOLD_TILES
        try:
            fields = json.loads(summary.read_text(encoding="utf-8"))
            counts: Mapping[str, int] = fields["tiles_by_organ"]
            return int(fields["n_tiles"]) if organs is None else sum(int(counts.get(organ, 0)) for organ in organs)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return PANNUKE_FOLD_TILES  # damaged: the steps that read it name it, and a graph needs only an estimate


def is_archived(product: str) -> bool:
    """True for the products of a finished run that `archive` copies: all but times of jobs, and maps, which are large."""
    return not {"timings", "maps"} & set(Path(product).parts)


def removed_marker(results: Path) -> Path:
    """File that says that features were removed on purpose."""
    return results / "features" / "removed.txt"
