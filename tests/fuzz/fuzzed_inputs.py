"""Formats that users bring: settings, data sets, annotations, images, slides and weights."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import own_folders
import scipy.io
import slides
import tifffile
import torch
from fuzzed import Format
from PIL import Image
from roifile import ImagejRoi
from safetensors.torch import save_file

from cellvit.config.encoders import EncoderSettings
from cellvit.config.settings import load_settings
from cellvit.config.strict import read_settings_file
from cellvit.data.annotations.annotation import Annotation
from cellvit.data.annotations.options import Kind, Options, Place
from cellvit.data.annotations.read import kind_of, read_annotation
from cellvit.data.corrections import read_corrections
from cellvit.data.images import read_image
from cellvit.data.own_data import read_own_data
from cellvit.data.pannuke import fold_files, read_blocks, read_names, read_types
from cellvit.data.slides.opening import open_slide
from cellvit.models.weights import load_model
from cellvit.models.weights_file import described_weights

SHAPE = (40, 60)
IDS = np.zeros(SHAPE, np.uint16)
IDS[10:18, 10:20], IDS[10:18, 20:30], IDS[30:40, 50:60] = 1, 2, 3
CLASSES = np.array([0, 1, 2, 1], np.uint8)[IDS]
SQUARE = [[2.0, 1.0], [9.0, 1.0], [9.0, 8.0], [2.0, 8.0], [2.0, 1.0]]
"""A small annotated image."""


def write_geojson(path: Path) -> None:
    own_folders.write_geojson(
        path,
        [own_folders.feature(SQUARE, "Neuron"), own_folders.feature([[x + 20, y + 20] for x, y in SQUARE], "Checked")],
    )


def write_coco(path: Path) -> None:
    runs = {"size": [40, 60], "counts": [9, 3, 2388]}
    annotations = [
        {"image_id": 1, "category_id": 7, "segmentation": part, "iscrowd": 0} for part in ([[2, 1, 9, 1, 9, 8]], runs)
    ]
    images = [{"id": 1, "file_name": "a.png", "height": 40, "width": 60}]
    path.write_text(
        json.dumps({"images": images, "categories": [{"id": 7, "name": "Tumor"}], "annotations": annotations})
    )


def write_imagescope(path: Path) -> None:
    vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in SQUARE[:-1])
    path.write_text(
        f'<Annotations><Annotation Id="1" Name="Tumor"><Regions><Region Id="1" Type="0"><Vertices>{vertices}</Vertices></Region></Regions></Annotation></Annotations>'
    )


def write_pannuke_masks(path: Path) -> None:
    masks = np.zeros((1, *SHAPE, 6))
    for channel in range(2):
        masks[0, ..., channel] = np.where(channel + 1 == CLASSES, IDS, 0)
    masks[..., 5] = masks[..., :5].sum(axis=-1) == 0
    np.save(path, masks)


def write_matlab_5(path: Path) -> None:
    scipy.io.savemat(path, {"inst_map": IDS, "type_map": CLASSES}, do_compression=True)
    with path.open("r+b") as opened:
        opened.write(b"MATLAB 5.0 MAT-file".ljust(116))  # without the time


def write_matlab_73(path: Path) -> None:
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        file["inst_map"] = IDS.T.astype(float)
        file["inst_map"].attrs["MATLAB_class"] = np.bytes_(b"double")
    with path.open("r+b") as opened:
        opened.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM")


def write_zip(path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("a.roi"), ImagejRoi.frompoints(SQUARE[:-1], name="a").tobytes())


def annotation(
    name: str, kind: Kind, file: str, write: Callable[[Path], Any], options: Options | None = None
) -> Format:
    def write_in(folder: Path) -> Path:
        write(folder / file)
        return folder / file

    def read(path: Path) -> Annotation:
        kind_of(path)
        found = read_annotation(
            path, SHAPE, kind, options or Options(), Place(member="0" if kind in ("pannuke", "conic") else "")
        )
        return [found.instances, found.classes, found.annotated]

    return Format(f"annotation: {name}", write_in, read)


def write_class_file(path: Path) -> None:
    Image.fromarray(IDS).save(path.with_name("a.png"))
    path.write_text("id,class\n1,Tumor\n2,Other\n3,Tumor\n")


def read_class_file(path: Path) -> object:
    found = read_annotation(path.with_name("a.png"), SHAPE, "label-map", Options(class_file="{name}.csv"))
    return [found.instances, found.classes]


def write_mask_folder(folder: Path) -> Path:
    (folder / "masks").mkdir(parents=True)
    for number in (1, 2, 3):
        Image.fromarray((number == IDS).astype(np.uint8) * 255).save(folder / "masks" / f"{number}.png")
    return folder / "masks" / "2.png"


def read_mask_folder(path: Path) -> object:
    return read_annotation(path.parent, SHAPE, "masks").instances


PIXELS = own_folders.tissue(own_folders.DISKS, side=64)


def picture(suffix: str, **options: Any) -> Format:
    def write(folder: Path) -> Path:
        Image.fromarray(PIXELS).save(folder / f"a.{suffix}", **options)
        return folder / f"a.{suffix}"

    return Format(f"image: {suffix}", write, lambda path: read_image(path).pixels)


def write_images_array(folder: Path) -> Path:
    np.save(folder / "images.npy", np.stack([PIXELS, PIXELS]))
    return folder / "images.npy"


def slide(kind: str) -> Format:
    def write(folder: Path) -> Path:
        name = {"tiff": "a.tif", "aperio": "a.svs", "ome": "a.ome.tif"}[kind]
        pixels = np.kron(PIXELS, np.ones((8, 8, 1), np.uint8))
        return slides.write_pyramid(folder / name, pixels, 0.25, kind=kind, n_levels=2)

    def read(path: Path) -> object:
        opened = open_slide(path, mpp=0.25)
        try:
            return [
                opened.width,
                opened.height,
                opened.read(0, 0, 512, 512),
                opened.read(0, 0, 256, 256, level=len(opened.downsamples) - 1),
            ]
        finally:
            opened.close()

    return Format(f"slide: {kind}", write, read)


def fold_file(name: str) -> Format:
    def write(folder: Path) -> Path:
        files = fold_files(folder, 1)
        for path in (files.images, files.masks):
            path.parent.mkdir(parents=True)
        masks = np.zeros((2, 256, 256, 6), np.uint8)
        masks[:, 10:20, 10:20, 0] = 1
        masks[..., 5] = masks[..., 0] == 0
        np.save(files.images, np.full((2, 256, 256, 3), 200, np.uint8))
        np.save(files.masks, masks)
        np.save(files.types, np.array(["Colon", "Skin"]))
        np.save(files.patients, np.array(["A", "B"]))
        np.save(files.sources, np.array(["Bern", "Basel"]))
        return files.inputs[name]

    def read(path: Path) -> object:
        files = fold_files(path.parents[3], 1)
        types = read_types(files)
        return (
            types,
            read_names(files, "patients", 2),
            read_names(files, "sources", 2),
            [(block.images, block.masks) for block in read_blocks(files)],
        )

    return Format(f"fold: {name}.npy", write, read)


def own_file(name: str) -> Format:
    def read(path: Path) -> object:
        own = read_own_data(path.parent)
        return own.description, own.rows

    return Format(f"own data: {name}", lambda folder: own_folders.described_folder(folder) / name, read)


def weights(suffix: str) -> Format:
    def write(folder: Path) -> Path:
        model = load_model(EncoderSettings(preset="tiny-vit", weights="random")).model
        save = save_file if suffix == "safetensors" else torch.save
        save({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / f"a.{suffix}")
        return folder / f"a.{suffix}"

    def read(path: Path) -> object:
        described_weights(path)
        loaded = load_model(EncoderSettings(preset="tiny-vit", weights=str(path)))
        return {name: tensor.numpy() for name, tensor in loaded.model.state_dict().items()}

    return Format(f"weights: {suffix}", write, read)


def write_settings(folder: Path) -> Path:
    text = "families: {digestive: [Colon]}\nsplits:\n  '1': {train: 1, validate: 2, test: 3}\ntraining:\n  batch_size: 8\nseed: 3\n"
    (folder / "mine.yaml").write_text(text)
    return folder / "mine.yaml"


INPUTS: Sequence[Format] = (
    Format("settings: YAML", write_settings, lambda path: load_settings(read_settings_file(path))),
    *(own_file(name) for name in ("dataset.yaml", "tiles.csv")),
    *(fold_file(name) for name in ("images", "masks", "types", "patients", "sources")),
    *(weights(suffix) for suffix in ("safetensors", "pth")),
    annotation("label map, PNG", "label-map", "a.png", lambda path: Image.fromarray(IDS).save(path)),
    annotation("label map, TIFF", "label-map", "a.tif", lambda path: tifffile.imwrite(path, IDS)),
    annotation("label map, NPY", "label-map", "a.npy", lambda path: np.save(path, IDS)),
    Format(
        "annotation: classes of a label map, CSV",
        lambda folder: [write_class_file(folder / "a.csv"), folder / "a.csv"][1],
        read_class_file,
    ),
    Format("annotation: folder of masks", write_mask_folder, read_mask_folder),
    annotation(
        "MATLAB 5",
        "matlab",
        "a.mat",
        write_matlab_5,
    ),
    annotation("MATLAB 7.3", "matlab", "a.mat", write_matlab_73),
    annotation("GeoJSON", "geojson", "a.geojson", write_geojson),
    annotation("Aperio ImageScope", "imagescope", "a.xml", write_imagescope),
    annotation("COCO", "coco", "a.json", write_coco),
    annotation(
        "ImageJ, ROI",
        "imagej",
        "a.roi",
        lambda path: path.write_bytes(ImagejRoi.frompoints(SQUARE[:-1], name="a").tobytes()),
    ),
    annotation("ImageJ, ZIP", "imagej", "a.zip", write_zip),
    annotation("Cellpose", "cellpose", "a_seg.npy", lambda path: np.save(path, {"masks": IDS, "flows": []})),
    annotation("CellViT", "cellvit", "a.npy", lambda path: np.save(path, {"inst_map": IDS, "type_map": CLASSES})),
    annotation("PanNuke", "pannuke", "masks.npy", write_pannuke_masks),
    annotation("CoNIC", "conic", "labels.npy", lambda path: np.save(path, np.stack([IDS, CLASSES], axis=-1)[None])),
    Format(
        "corrections of QuPath",
        lambda folder: [write_geojson(folder / "a.geojson"), folder / "a.geojson"][1],
        lambda path: repr(read_corrections(path, "Checked")),
    ),
    picture("png"),
    picture("jpg", quality=90),
    picture("jp2"),
    picture("tif", compression="tiff_lzw"),
    Format("image: npy", write_images_array, lambda path: read_image(path, member="1").pixels),
    *(slide(kind) for kind in ("tiff", "aperio", "ome")),
)
