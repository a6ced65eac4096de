"""Differences between the 19 organs: stain, architecture, cells, stroma.

The table follows textbook histology (Mescher, Junqueira's Basic Histology). Its numbers are rough, and chosen so that the
means over the organs are near the class frequencies of PanNuke (41 % neoplastic, 27 % connective, 17 % inflammatory, 14 %
epithelial, 1.5 % dead).
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from cellvit.data.simulate.architecture import Architecture

GLANDS, FOLLICLES, NESTS = Architecture.GLANDS, Architecture.FOLLICLES, Architecture.NESTS
PLATES, SURFACE, SHEET = Architecture.PLATES, Architecture.SURFACE, Architecture.SHEET
STROMA, AIRSPACES, LYMPHOID = Architecture.STROMA, Architecture.AIRSPACES, Architecture.LYMPHOID


class Organ(NamedTuple):
    """Appearance of one organ. The parenchyma are its functional cells, benign or neoplastic."""

    hematoxylin: tuple[float, float, float]  # shift of the optical density of the dye in red, green, blue
    eosin: tuple[float, float, float]  # likewise
    strengths: tuple[float, float]  # of hematoxylin and eosin, about 1
    architectures: Mapping[Architecture, float]  # arrangements of the parenchyma with their weights
    malignant: float  # share of tiles in which the parenchyma is neoplastic
    cell_px: float  # area of a parenchymal cell; small cells give dense nuclei
    nuclear_scale: float  # size of parenchymal nuclei relative to their class
    cytoplasm: tuple[float, float]  # hematoxylin and eosin of the cytoplasm
    vacuoles: float  # clear vacuoles (mucin, fat, foam) for each cell
    fibroblasts: float  # number of connective nuclei relative to the average organ
    collagen: float  # eosin of the collagen strands
    fibre_px: tuple[float, float]  # length and width of a strand
    clefts: float  # white gaps between strands, 0..1
    inflammation: float  # median number of inflammatory nuclei in a tile without a dense infiltrate
    blood: float  # probability of erythrocytes in a tile
    pigment: float  # probability of brown pigment in a tile


# fmt: off
PROFILES: Final[Mapping[str, Organ]] = {
    #   hematoxylin,           eosin,                 strengths,    architectures,
    #   malignant, cell_px, nuclear_scale, cytoplasm, vacuoles, fibroblasts, collagen, fibre_px, clefts, inflammation, blood, pigment
    "Adrenal_gland": Organ(  # steroid-rich cords, foamy and eosinophilic, thin capillaries
        ( 0.04, -0.02,  0.02), ( 0.02,  0.00,  0.10), (0.85, 1.00), {PLATES: 4, SHEET: 3, STROMA: 1},
        0.72, 1500, 0.86, (0.10, 0.62), 0.45, 0.50, 0.55, ( 70,   7), 0.10, 1.0, 0.50, 0.15),
    "Bile-duct": Organ(  # ducts in dense desmoplastic stroma, bile
        (-0.04,  0.02,  0.06), ( 0.05, -0.02,  0.02), (0.90, 0.90), {GLANDS: 5, NESTS: 2, STROMA: 2},
        0.80, 1500, 0.95, (0.20, 0.50), 0.05, 1.25, 0.62, (130,   9), 0.25, 2.5, 0.20, 0.25),
    "Bladder": Organ(  # urothelium in layers, muscle bundles
        ( 0.00,  0.05,  0.10), ( 0.00, -0.05, -0.03), (1.10, 1.00), {SURFACE: 3, SHEET: 3, STROMA: 2, NESTS: 1},
        0.82, 1700, 1.05, (0.28, 0.50), 0.02, 1.00, 0.70, (190,  12), 0.15, 2.0, 0.30, 0.02),
    "Breast": Organ(  # carcinoma nests and cords in collagen, fat
        ( 0.05,  0.00,  0.05), ( 0.10,  0.00,  0.06), (1.10, 0.95), {NESTS: 5, GLANDS: 3, STROMA: 2, AIRSPACES: 1, LYMPHOID: 0.4},
        0.82, 1500, 1.00, (0.22, 0.42), 0.06, 1.10, 0.68, (150,   8), 0.20, 2.0, 0.15, 0.02),
    "Cervix": Organ(  # squamous epithelium over fibrous stroma
        ( 0.10, -0.03, -0.06), (-0.04,  0.02, -0.06), (1.00, 0.80), {SURFACE: 4, SHEET: 2, STROMA: 2, LYMPHOID: 0.4},
        0.72, 1500, 0.98, (0.26, 0.36), 0.06, 1.00, 0.50, ( 90,   6), 0.20, 4.0, 0.20, 0.02),
    "Colon": Organ(  # crypts with goblet cells, lymphoid lamina propria
        (-0.02,  0.06, -0.05), ( 0.12, -0.04,  0.00), (0.80, 0.75), {GLANDS: 7, STROMA: 2, LYMPHOID: 1},
        0.64, 1450, 0.95, (0.22, 0.42), 0.22, 0.90, 0.50, (100,   6), 0.40, 6.0, 0.15, 0.01),
    "Esophagus": Organ(  # squamous epithelium, smooth muscle
        (-0.05,  0.00, -0.04), (-0.05,  0.03,  0.05), (0.95, 1.20), {SURFACE: 4, NESTS: 3, STROMA: 3, LYMPHOID: 0.4},
        0.70, 1900, 0.95, (0.10, 0.64), 0.03, 1.00, 0.78, (210,  14), 0.15, 2.0, 0.15, 0.02),
    "HeadNeck": Organ(  # keratinising nests in inflamed stroma
        ( 0.02, -0.04,  0.00), (-0.08,  0.02,  0.14), (0.95, 1.25), {NESTS: 5, SHEET: 2, STROMA: 2, LYMPHOID: 0.4},
        0.84, 1800, 1.05, (0.14, 0.66), 0.03, 1.00, 0.72, (120,   8), 0.20, 5.0, 0.25, 0.02),
    "Kidney": Organ(  # tubules back to back, clear cells, rich in blood
        ( 0.08,  0.02,  0.12), ( 0.02, -0.06,  0.10), (0.90, 1.10), {GLANDS: 5, SHEET: 2, STROMA: 1},
        0.68, 1900, 0.84, (0.06, 0.60), 0.30, 0.60, 0.45, ( 60,   6), 0.15, 1.5, 0.60, 0.03),
    "Liver": Organ(  # plates of eosinophilic hepatocytes, fat, lipofuscin
        (-0.03,  0.00,  0.10), ( 0.00,  0.05,  0.18), (1.00, 1.15), {PLATES: 5, SHEET: 3, STROMA: 1},
        0.68, 2100, 0.95, (0.14, 0.80), 0.12, 0.50, 0.62, ( 80,   8), 0.10, 2.0, 0.50, 0.45),
    "Lung": Organ(  # airspaces, adenocarcinoma, anthracosis
        ( 0.12,  0.00,  0.00), ( 0.08,  0.00, -0.04), (1.20, 0.90), {AIRSPACES: 3, GLANDS: 3, NESTS: 3, STROMA: 1, LYMPHOID: 0.4},
        0.82, 1600, 1.02, (0.18, 0.44), 0.05, 1.00, 0.54, ( 90,   6), 0.30, 4.0, 0.50, 0.45),
    "Ovarian": Organ(  # papillae and cellular whorled stroma
        ( 0.02,  0.08, -0.04), ( 0.16, -0.08, -0.06), (1.15, 0.75), {NESTS: 3, GLANDS: 3, SHEET: 2, STROMA: 2},
        0.84, 1350, 1.05, (0.28, 0.36), 0.04, 1.50, 0.52, ( 60,   5), 0.15, 1.2, 0.20, 0.02),
    "Pancreatic": Organ(  # acini with basophilic bases, fibrosis
        (-0.04,  0.04,  0.08), ( 0.06,  0.02, -0.04), (1.00, 1.00), {GLANDS: 4, SHEET: 2, STROMA: 3},
        0.72, 1650, 0.90, (0.31, 0.52), 0.05, 1.30, 0.66, (160,  10), 0.25, 1.8, 0.15, 0.02),
    "Prostate": Organ(  # glands with tall pale cells in smooth muscle
        ( 0.06, -0.04,  0.06), (-0.02,  0.04,  0.02), (0.90, 1.10), {GLANDS: 6, NESTS: 2, STROMA: 2},
        0.68, 1600, 0.86, (0.12, 0.46), 0.12, 1.20, 0.74, (180,  12), 0.10, 1.2, 0.10, 0.03),
    "Skin": Organ(  # keratin and melanin over coarse dermal collagen
        ( 0.00, -0.05,  0.12), (-0.06,  0.00,  0.20), (1.10, 1.30), {SURFACE: 3, NESTS: 3, STROMA: 3},
        0.74, 1700, 1.00, (0.16, 0.56), 0.02, 0.90, 0.90, (130,  16), 0.35, 2.5, 0.15, 0.50),
    "Stomach": Organ(  # gastric pits with mucin, oxyntic cells
        (-0.06,  0.03,  0.00), ( 0.06, -0.02,  0.08), (1.00, 1.05), {GLANDS: 5, SHEET: 2, STROMA: 2, LYMPHOID: 1},
        0.74, 1500, 0.98, (0.16, 0.62), 0.16, 0.80, 0.56, ( 80,   7), 0.25, 5.0, 0.25, 0.02),
    "Testis": Organ(  # seminoma sheets with clear cytoplasm and lymphocytes
        ( 0.04,  0.06,  0.04), ( 0.18, -0.04,  0.00), (1.00, 0.70), {SHEET: 5, NESTS: 2, GLANDS: 2, LYMPHOID: 0.4},
        0.82, 2000, 1.08, (0.08, 0.30), 0.25, 0.80, 0.40, ( 70,   5), 0.25, 5.0, 0.15, 0.02),
    "Thyroid": Organ(  # follicles with colloid
        ( 0.00,  0.02, -0.04), ( 0.00,  0.04,  0.00), (1.00, 0.95), {FOLLICLES: 7, SHEET: 1, STROMA: 1},
        0.70, 1500, 0.84, (0.14, 0.52), 0.02, 0.80, 0.56, ( 90,   8), 0.15, 1.5, 0.35, 0.06),
    "Uterus": Organ(  # endometrial glands, interlacing smooth muscle
        ( 0.08,  0.04,  0.06), ( 0.04, -0.02, -0.06), (1.05, 0.95), {GLANDS: 3, STROMA: 4, SHEET: 1},
        0.70, 1400, 0.98, (0.22, 0.46), 0.04, 1.70, 0.72, (170,   9), 0.08, 1.8, 0.20, 0.02),
}
"""One profile for each of `cellvit.taxonomy.ORGANS`; the order of the values is that of the fields of `Organ`."""
# fmt: on
