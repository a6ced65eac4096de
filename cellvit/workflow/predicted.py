"""Lookups of the rules that predict images: which images, with which bundles and settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cellvit.config.data import FINAL_SPLIT
from cellvit.config.settings import Settings
from cellvit.data.slides.listing import ImageJob, images_of
from cellvit.errors import SettingsError
from cellvit.formats.bundle import BUNDLE
from cellvit.formats.bundle_hub import HUB
from cellvit.formats.prediction import AREA, COUNTS, NUCLEI, OVERLAY, PAGE, TABLE


@dataclass(frozen=True)
class Predicted:
    """What the rules look up in the section `prediction` of the settings."""

    settings: Settings

    @cached_property
    def jobs(self) -> Mapping[str, ImageJob]:
        """The images by name; looked for only if a job needs them.

        Raises:
            SettingsError: The settings name no images, or one with braces in its path.
            MissingInputError: They do not exist.
        """
        if self.settings.prediction.images is None:
            raise SettingsError(
                "prediction.images: expected a file, a folder or a CSV of images, found none. "
                "Fix: snakemake predict --config prediction='{images: slides/}'"
            )
        jobs = images_of([Path(self.settings.prediction.images)])
        paths = [path for job in jobs for path in (job.path, job.regions) if path and {"{", "}"} & {*str(path)}]
        if paths:
            raise SettingsError(
                f"prediction.images: {paths[0]}: expected a path without {{ and }}, which Snakemake replaces, found {len(paths)} with "
                "them. Fix: rename these files, or predict them with `cellvit predict`"
            )
        return {job.name: job for job in jobs}

    def image(self, wildcards: Any) -> str:
        """The file of a job; for `input`."""
        return str(self._job(wildcards).path)

    def regions(self, wildcards: Any) -> list[str]:
        """Its regions, if it has some; for `input`."""
        regions = self._job(wildcards).regions
        return [str(regions)] if regions else []

    def settings_of(self, wildcards: Any) -> str:
        """Settings of a job as JSON, with its own resolution and organ over those of all; for `params`."""
        job = self._job(wildcards)
        own = {name: value for name, value in (("mpp", job.mpp), ("organ", job.organ)) if value}
        unread = {"images": None, "models": ()}
        return self.settings.prediction.model_copy(update={**unread, **own}).model_dump_json()

    @property
    def models(self) -> list[str]:
        """Folders of the bundles, or their names on the hub; for `params`."""
        given = self.settings.prediction.models or tuple(self.settings.splits)[:1]
        return [self._of_run(name) or name for name in given]

    @property
    def made_here(self) -> list[str]:
        """Documents of the bundles on this machine, which rules of this run make or find; for `input`."""
        return [f"{model}/{BUNDLE}" for model in self.models if not model.startswith(HUB)]

    @property
    def files(self) -> dict[str, str]:
        """Names of the files of one image, by what they are."""
        prediction = self.settings.prediction
        return {
            "nuclei": f"{NUCLEI}.gz" if prediction.compress else NUCLEI,
            "table": str(Path(TABLE).with_suffix(f".{prediction.table}")),
            "counts": COUNTS,
            "overlay": OVERLAY,
            "area": AREA,
            "page": PAGE,
        }

    def _of_run(self, name: str) -> str:
        """Folder of the bundle of a split of this run; empty for any other name."""
        folder = f"split{name}" if name in self.settings.splits else name
        return f"{self.settings.results}/bundles/{folder}" if name in {*self.settings.splits, FINAL_SPLIT} else ""

    def _job(self, wildcards: Any) -> ImageJob:
        return self.jobs[wildcards.slide]
