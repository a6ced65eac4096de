"""Settings of the prediction: which images, with which models, and how."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from cellvit.config.base import PathText, Section

OverlapPx = Annotated[int, Field(ge=32, le=192)]


class PredictionSettings(Section):
    """Applying trained models to images and slides (`snakemake predict`, `cellvit predict`)."""

    images: PathText | None = Field(
        default=None, description="images and slides: a file, a folder, or a CSV with the column path (docs/predict.md)"
    )
    models: tuple[PathText, ...] = Field(
        default=(),
        description="bundles whose maps are averaged: names of splits of this run, final, folders, or hf-hub:owner/name; "
        "empty: the first split",
    )
    organ: str | None = Field(
        default=None, description="organ of all images; null: OrganHead predicts it for each image"
    )
    mpp: PositiveFloat | None = Field(
        default=None, description="micrometres per pixel of images whose files do not state it"
    )
    area: Literal["auto", "whole", "tissue"] = Field(
        default="auto",
        description="which part of an image is analysed; auto: the whole of a small image, the tissue of a slide",
    )
    overlap_px: OverlapPx = Field(
        default=128,
        description="overlap of neighbouring tiles. 128 is half a tile: a grid that is moved by half a tile then has the same "
        "tiles, and gives the same nuclei; 64 encodes 0.44 times as many tiles, and about 7 % of the nuclei change (docs/predict.md)",
    )
    average_views: bool = Field(
        default=False,
        description="average the maps over the eight flips and rotations of each tile: eight times as long",
    )
    unlike: Literal["mark", "shared"] = Field(
        default="mark",
        description="tiles that are unlike the training data. mark: decoded like all, and marked; shared: decoded by the "
        "shared decoder, and marked",
    )
    table: Literal["csv", "parquet"] = Field(default="csv", description="format of the table of nuclei")
    compress: bool = Field(default=False, description="write nuclei.geojson.gz in place of nuclei.geojson")
