"""Real files of others give the values that were computed independently of any reader (README.md beside each)."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cellvit.data.annotations.options import Options
from cellvit.data.annotations.read import kind_of, read_annotation
from cellvit.data.images import read_image
from cellvit.errors import ContractError

SHARED = Path(__file__).parents[4] / "shared"
FORMATS = SHARED / "formats"

needs_formats = pytest.mark.skipif(
    not FORMATS.is_dir(), reason="needs ../shared/formats, which is not part of the repository"
)


@needs_formats
@pytest.mark.parametrize(
    ("name", "shape", "options", "n", "areas", "classes", "first_centroid"),
    [
        ("label_tiff/mask2d.tif", (512, 512), {}, 125, (25, 440, 751, 52226), {}, (425.74, 455.06)),
        ("nuinsseg/GT/human_bladder_01.tif", (512, 512), {}, 24, (394, 1189, 2388, 30965), {}, (49.5, 24.6)),
        ("nuinsseg/Prediction/human_bladder_01.npy", (512, 512), {}, 27, (134, 1142, 2476, 31131), {}, (50.98, 26.89)),
        ("mat_NC/patch1.mat", (256, 256), {}, 20, (25, 479.5, 783, 7473), {"2": 2, "3": 4, "5": 14}, (69.29, 2.73)),
        ("mat_NC/patch2.mat", (256, 256), {}, 47, (9, 472, 1174, 20492), {"1": 47}, (45.51, 2.02)),
        ("nucls_cellvit_npy/Example-Segmentation/labels/test_1.npy", (256, 256), {}, 20, (74, 370, 935, 7488), {"1": 11, "2": 9}, (66.19, 6.69)),
        ("nucls_cellvit_npy/Example-Segmentation/labels/test_2.npy", (256, 256), {}, 46, (102, 388, 1112, 19037), {"1": 21, "2": 25}, (14.9, 6.5)),
        ("consep_patch_NC/test_1_000.npy", (256, 256), {"class_file": "{name}_class.png"}, 83, (2, 311, 958, 26538), {"2": 1, "3": 51, "4": 31}, (105.98, 247.59)),
        ("consep_patch_NC/test_12_008.npy", (256, 256), {"class_file": "{name}_class.png"}, 24, (1, 451.5, 937, 10034), {"2": 5, "3": 14, "4": 5}, (74.99, 76.39)),
    ],
)  # fmt: skip
def test_real_maps_give_the_stated_nuclei(name, shape, options, n, areas, classes, first_centroid):
    path = FORMATS / name

    annotation = read_annotation(path, shape, kind_of(path), Options(**options))

    area = np.bincount(annotation.instances.reshape(-1))[1:]
    assert len(annotation.classes) == n
    assert (area.min(), np.median(area), area.max(), area.sum()) == areas
    assert Counter(annotation.classes) == (classes or {"": n})
    row, column = np.nonzero(annotation.instances == 1)
    assert (column.mean(), row.mean()) == pytest.approx(first_centroid, abs=0.006)
    assert "several_parts" not in annotation.counts


@needs_formats
def test_masks_of_nuinsseg_give_the_stated_nuclei_and_ambiguous_area():
    folder = FORMATS / "nuinsseg/GT/human_bladder_01_png_masks"

    annotation = read_annotation(folder, (512, 512), kind_of(folder))
    vague = read_annotation(folder, (512, 512), "masks", Options(not_annotated_file="../amb_masks/{name}.png"))

    assert len(annotation.classes) == 24
    assert np.count_nonzero(annotation.instances) == 32962
    assert annotation.counts["px_in_several"] == 1641
    area = np.asarray(Image.open(FORMATS / "nuinsseg/amb_masks/human_bladder_01.png")) > 0
    assert area.sum() == 21987
    left_out = (annotation.instances > 0) & (vague.instances == 0)
    np.testing.assert_array_equal(~vague.annotated, (area & (vague.instances == 0)) | left_out)
    assert len(vague.classes) + vague.counts["not_annotated"] == 24


@needs_formats
@pytest.mark.parametrize(("number", "n"), [(1, 22), (2, 54), (3, 47)])
def test_points_without_outlines_are_refused_with_their_number(number, n):
    with pytest.raises(ContractError, match=f"it has {n} points, and points have no outline"):
        kind_of(FORMATS / f"nucls_cellvit_csv/labels/test_{number}.csv")


@needs_formats
@pytest.mark.parametrize("name", ["test_1_000", "test_12_008"])
def test_matlab_files_without_an_instance_map_are_refused(name):
    with pytest.raises(ContractError, match=r"expected the variable inst_map, .* found inst_type, inst_centroid"):
        read_annotation(FORMATS / f"consep_patch_NC/{name}.mat", (256, 256), "matlab")


@needs_formats
@pytest.mark.parametrize(
    ("name", "shape", "mean", "mpp"),
    [
        ("tiff_variants/cells-1.jp2", (261, 185), (212.63, 213.62, 214.53), None),
        ("tiff_variants/hopper_bigtiff.tif", (128, 128), (89.71, 80.09, 95.38), None),
        ("tiff_variants/hopper_float_dpi_None.tif", (128, 128), (89.71, 80.09, 95.38), None),
        ("tiff_variants/rgb.tiled.jpeg2000.u1.tif", (83, 111), (155.38, 150.38, 145.18), None),
        ("tiff_variants/test-card-lossy-tiled.jp2", (480, 640), (98.59, 44.71, 99.46), None),
        ("tiff_variants/tiff_strip_planar_lzw.tiff", (374, 278), (169.66, 155.07, 160.61), None),
        ("tiff_variants/tiff_tiled_ycbcr_jpeg_2x2_sampling.tif", (360, 480), (119.3, 131.99, 94.11), None),
        ("slides/CMU-1-Small-Region.svs", (2967, 2220), (214.01, 194.81, 207.9), 0.499),
        ("slides/OS-1-detail.ome.tif", (1101, 1101), (144.37, 123.64, 179.7), 0.2270972430394695),
        ("slides/HE_example.tif", (1484, 1380), (177.75, 138.64, 193.99), 0.5000799214486333),
        ("slides/kidney-48-5.tif", (901, 1493), (251.8, 251.82, 251.87), None),
        ("slides/boxes.tiff", (250, 300), (159.09, 163.51, 191.5), None),
        ("aperio_xml_NC/A9K0_2.svs", (763, 756), (165.31, 77.71, 155.86), 0.19448),
        ("aperio_xml_NC/A9K0_3.svs", (185, 497), (194.67, 23.36, 64.0), 0.19448),
        ("aperio_xml_NC/TCGA-ZF-A9R5-01A-01-TS1.tif", (1000, 1000), (138.31, 99.6, 146.55), None),
        ("qupath_geojson/tcga_tile.png", (1024, 1024), (167.73, 136.7, 169.09), None),
        ("mat_NC/patch1.png", (256, 256), (140.2, 113.23, 181.15), None),
        ("mat_NC/patch2.png", (256, 256), (125.22, 101.96, 177.99), None),
        ("consep_patch_NC/test_1_000.jpg", (256, 256), (194.07, 159.35, 207.85), None),
        ("coco_NC/images/test_2_004.jpg", (256, 256), (205.97, 139.61, 200.34), None),
        ("nucls_cellvit_csv/images/test_3.png", (256, 256), (186.53, 138.64, 187.32), None),
    ],
)  # fmt: skip
def test_real_images_give_the_stated_pixels_and_resolution(name, shape, mean, mpp):
    image = read_image(FORMATS / name)

    assert image.pixels.shape == (*shape, 3)
    assert image.pixels.reshape(-1, 3).mean(axis=0) == pytest.approx(mean, abs=0.006)
    assert image.mpp == mpp
    assert image.counts == ({"further_images": 1} if "jpeg2000" in name else {})


@needs_formats
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tiff_variants/cells-gray16.tif", "8 bits per channel, found uint16"),
        ("tiff_variants/tiff_16bit_RGB.tiff", "8 bits per channel, found uint16"),
        ("tiff_variants/16bit.cropped.tif", "8 bits per channel, found uint16"),
        ("tiff_variants/tiff_tiled_cmyk_jpeg.tif", "kind SEPARATED"),
        ("tiff_variants/g4_orientation_6.tif", "orientation 6"),
        ("tiff_variants/gray.bigtiff.u1.tif", "found a grey image"),
        ("tiff_variants/rgba.tiled.u1.tif", "alpha channel with values from 55"),
        ("slides/broken.svs", "another format, a web page or text"),
        ("slides/sm_image.dcm", "another format, a web page or text"),
        ("slides/unopenable.tiff", "52479"),
        ("label_tiff/img2d.tif", "8 bits per channel, found uint16"),
    ],
)
def test_real_images_of_other_colours_and_formats_are_refused_by_name(name, message):
    with pytest.raises(ContractError, match=message):
        read_image(FORMATS / name)


@pytest.mark.slow
@pytest.mark.real_tiles
def test_real_tiles_are_read_as_label_maps_with_a_map_of_classes():
    root = SHARED / "real_tiles"
    paths = sorted((root / "instances").glob("*.png"))
    without_classes = 0

    for path in paths:
        class_map = root / "classes" / path.name  # MoNuSeg has none
        options = Options(class_file="../classes/{name}.png" if class_map.exists() else "")
        image = read_image(next((root / "images").glob(f"{path.stem}.*")))
        annotation = read_annotation(path, image.pixels.shape[:2], kind_of(path), options)

        np.testing.assert_array_equal(annotation.instances, np.asarray(Image.open(path)))
        if class_map.exists():
            classes = np.array([0, *map(int, annotation.classes)])[annotation.instances]
            np.testing.assert_array_equal(classes, np.asarray(Image.open(class_map)))
        else:
            assert set(annotation.classes) <= {""}
            without_classes += 1
    assert (len(paths), without_classes) == (426, 144)
