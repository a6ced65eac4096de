"""Differences between the 19 organs: stain, architecture, cells, stroma.

The table follows textbook histology (Mescher, Junqueira's Basic Histology). Its numbers are rough, and chosen so that the
means over the organs are near the class frequencies of PanNuke (41 % neoplastic, 27 % connective, 17 % inflammatory, 14 %
epithelial, 1.5 % dead).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cellvit.data.simulate.architecture import Architecture
from cellvit.data.simulate.stain import Palette

GLANDS, FOLLICLES, NESTS = Architecture.GLANDS, Architecture.FOLLICLES, Architecture.NESTS
PLATES, SURFACE, SHEET = Architecture.PLATES, Architecture.SURFACE, Architecture.SHEET
STROMA, AIRSPACES, LYMPHOID = Architecture.STROMA, Architecture.AIRSPACES, Architecture.LYMPHOID


@dataclass(frozen=True, slots=True)
class Parenchyma:
    """The functional cells of the organ, benign or neoplastic.

    Attributes:
        malignant: Share of tiles in which they are neoplastic.
        cell_px: Area of a cell; small cells give dense nuclei.
        nuclear_scale: Size of the nuclei relative to their class.
        cytoplasm: Hematoxylin and eosin of the cytoplasm.
        vacuoles: Clear vacuoles (mucin, fat, foam) for each cell.
    """

    malignant: float
    cell_px: float
    nuclear_scale: float
    cytoplasm: tuple[float, float]
    vacuoles: float


@dataclass(frozen=True, slots=True)
class Stroma:
    """The tissue between them.

    Attributes:
        density: Number of connective nuclei relative to the average organ.
        collagen: Eosin of the collagen strands.
        fibre_px: Length and width of a strand.
        clefts: White gaps between strands, 0..1.
    """

    density: float
    collagen: float
    fibre_px: tuple[float, float]
    clefts: float


@dataclass(frozen=True, slots=True)
class Guests:
    """What only some tiles of the organ have.

    Attributes:
        inflammation: Median number of inflammatory nuclei in a tile without a dense infiltrate.
        blood: Probability of erythrocytes in a tile.
        pigment: Probability of brown pigment in a tile.
    """

    inflammation: float
    blood: float
    pigment: float


@dataclass(frozen=True, slots=True)
class Organ:
    """Appearance of one organ; `architectures` are the arrangements of its parenchyma with their weights."""

    palette: Palette
    architectures: Mapping[Architecture, float]
    parenchyma: Parenchyma
    stroma: Stroma
    guests: Guests


PROFILES: Final[Mapping[str, Organ]] = {
    "Adrenal_gland": Organ(  # steroid-rich cords, foamy and eosinophilic, thin capillaries
        palette=Palette(hematoxylin=(0.04, -0.02, 0.02), eosin=(0.02, 0, 0.1), strengths=(0.85, 1.0)),
        architectures={PLATES: 4, SHEET: 3, STROMA: 1},
        parenchyma=Parenchyma(malignant=0.72, cell_px=1500.0, nuclear_scale=0.86, cytoplasm=(0.1, 0.62), vacuoles=0.45),
        stroma=Stroma(density=0.5, collagen=0.55, fibre_px=(70.0, 7.0), clefts=0.1),
        guests=Guests(inflammation=1.0, blood=0.5, pigment=0.15),
    ),
    "Bile-duct": Organ(  # ducts in dense desmoplastic stroma, bile
        palette=Palette(hematoxylin=(-0.04, 0.02, 0.06), eosin=(0.05, -0.02, 0.02), strengths=(0.9, 0.9)),
        architectures={GLANDS: 5, NESTS: 2, STROMA: 2},
        parenchyma=Parenchyma(malignant=0.8, cell_px=1500.0, nuclear_scale=0.95, cytoplasm=(0.2, 0.5), vacuoles=0.05),
        stroma=Stroma(density=1.25, collagen=0.62, fibre_px=(130.0, 9.0), clefts=0.25),
        guests=Guests(inflammation=2.5, blood=0.2, pigment=0.25),
    ),
    "Bladder": Organ(  # urothelium in layers, muscle bundles
        palette=Palette(hematoxylin=(0.0, 0.05, 0.1), eosin=(0.0, -0.05, -0.03), strengths=(1.1, 1.0)),
        architectures={SURFACE: 3, SHEET: 3, STROMA: 2, NESTS: 1},
        parenchyma=Parenchyma(malignant=0.82, cell_px=1700.0, nuclear_scale=1.05, cytoplasm=(0.28, 0.5), vacuoles=0.02),
        stroma=Stroma(density=1.0, collagen=0.7, fibre_px=(190.0, 12.0), clefts=0.15),
        guests=Guests(inflammation=2.0, blood=0.3, pigment=0.02),
    ),
    "Breast": Organ(  # carcinoma nests and cords in collagen, fat
        palette=Palette(hematoxylin=(0.05, 0.0, 0.05), eosin=(0.1, 0.0, 0.06), strengths=(1.1, 0.95)),
        architectures={NESTS: 5, GLANDS: 3, STROMA: 2, AIRSPACES: 1, LYMPHOID: 0.4},
        parenchyma=Parenchyma(malignant=0.82, cell_px=1500.0, nuclear_scale=1.0, cytoplasm=(0.22, 0.42), vacuoles=0.06),
        stroma=Stroma(density=1.1, collagen=0.68, fibre_px=(150.0, 8.0), clefts=0.2),
        guests=Guests(inflammation=2.0, blood=0.15, pigment=0.02),
    ),
    "Cervix": Organ(  # squamous epithelium over fibrous stroma
        palette=Palette(hematoxylin=(0.1, -0.03, -0.06), eosin=(-0.04, 0.02, -0.06), strengths=(1.0, 0.8)),
        architectures={SURFACE: 4, SHEET: 2, STROMA: 2, LYMPHOID: 0.4},
        parenchyma=Parenchyma(
            malignant=0.72, cell_px=1500.0, nuclear_scale=0.98, cytoplasm=(0.26, 0.36), vacuoles=0.06
        ),
        stroma=Stroma(density=1.0, collagen=0.5, fibre_px=(90.0, 6.0), clefts=0.2),
        guests=Guests(inflammation=4.0, blood=0.2, pigment=0.02),
    ),
    "Colon": Organ(  # crypts with goblet cells, lymphoid lamina propria
        palette=Palette(hematoxylin=(-0.02, 0.06, -0.05), eosin=(0.12, -0.04, 0.0), strengths=(0.8, 0.75)),
        architectures={GLANDS: 7, STROMA: 2, LYMPHOID: 1},
        parenchyma=Parenchyma(
            malignant=0.64, cell_px=1450.0, nuclear_scale=0.95, cytoplasm=(0.22, 0.42), vacuoles=0.22
        ),
        stroma=Stroma(density=0.9, collagen=0.5, fibre_px=(100.0, 6.0), clefts=0.4),
        guests=Guests(inflammation=6.0, blood=0.15, pigment=0.01),
    ),
    "Esophagus": Organ(  # squamous epithelium, smooth muscle
        palette=Palette(hematoxylin=(-0.05, 0.0, -0.04), eosin=(-0.05, 0.03, 0.05), strengths=(0.95, 1.2)),
        architectures={SURFACE: 4, NESTS: 3, STROMA: 3, LYMPHOID: 0.4},
        parenchyma=Parenchyma(malignant=0.7, cell_px=1900.0, nuclear_scale=0.95, cytoplasm=(0.1, 0.64), vacuoles=0.03),
        stroma=Stroma(density=1.0, collagen=0.78, fibre_px=(210.0, 14.0), clefts=0.15),
        guests=Guests(inflammation=2.0, blood=0.15, pigment=0.02),
    ),
    "HeadNeck": Organ(  # keratinising nests in inflamed stroma
        palette=Palette(hematoxylin=(0.02, -0.04, 0.0), eosin=(-0.08, 0.02, 0.14), strengths=(0.95, 1.25)),
        architectures={NESTS: 5, SHEET: 2, STROMA: 2, LYMPHOID: 0.4},
        parenchyma=Parenchyma(
            malignant=0.84, cell_px=1800.0, nuclear_scale=1.05, cytoplasm=(0.14, 0.66), vacuoles=0.03
        ),
        stroma=Stroma(density=1.0, collagen=0.72, fibre_px=(120.0, 8.0), clefts=0.2),
        guests=Guests(inflammation=5.0, blood=0.25, pigment=0.02),
    ),
    "Kidney": Organ(  # tubules back to back, clear cells, rich in blood
        palette=Palette(hematoxylin=(0.08, 0.02, 0.12), eosin=(0.02, -0.06, 0.1), strengths=(0.9, 1.1)),
        architectures={GLANDS: 5, SHEET: 2, STROMA: 1},
        parenchyma=Parenchyma(malignant=0.68, cell_px=1900.0, nuclear_scale=0.84, cytoplasm=(0.06, 0.6), vacuoles=0.3),
        stroma=Stroma(density=0.6, collagen=0.45, fibre_px=(60.0, 6.0), clefts=0.15),
        guests=Guests(inflammation=1.5, blood=0.6, pigment=0.03),
    ),
    "Liver": Organ(  # plates of eosinophilic hepatocytes, fat, lipofuscin
        palette=Palette(hematoxylin=(-0.03, 0.0, 0.1), eosin=(0.0, 0.05, 0.18), strengths=(1.0, 1.15)),
        architectures={PLATES: 5, SHEET: 3, STROMA: 1},
        parenchyma=Parenchyma(malignant=0.68, cell_px=2100.0, nuclear_scale=0.95, cytoplasm=(0.14, 0.8), vacuoles=0.12),
        stroma=Stroma(density=0.5, collagen=0.62, fibre_px=(80.0, 8.0), clefts=0.1),
        guests=Guests(inflammation=2.0, blood=0.5, pigment=0.45),
    ),
    "Lung": Organ(  # airspaces, adenocarcinoma, anthracosis
        palette=Palette(hematoxylin=(0.12, 0.0, 0.0), eosin=(0.08, 0.0, -0.04), strengths=(1.2, 0.9)),
        architectures={AIRSPACES: 3, GLANDS: 3, NESTS: 3, STROMA: 1, LYMPHOID: 0.4},
        parenchyma=Parenchyma(
            malignant=0.82, cell_px=1600.0, nuclear_scale=1.02, cytoplasm=(0.18, 0.44), vacuoles=0.05
        ),
        stroma=Stroma(density=1.0, collagen=0.54, fibre_px=(90.0, 6.0), clefts=0.3),
        guests=Guests(inflammation=4.0, blood=0.5, pigment=0.45),
    ),
    "Ovarian": Organ(  # papillae and cellular whorled stroma
        palette=Palette(hematoxylin=(0.02, 0.08, -0.04), eosin=(0.16, -0.08, -0.06), strengths=(1.15, 0.75)),
        architectures={NESTS: 3, GLANDS: 3, SHEET: 2, STROMA: 2},
        parenchyma=Parenchyma(
            malignant=0.84, cell_px=1350.0, nuclear_scale=1.05, cytoplasm=(0.28, 0.36), vacuoles=0.04
        ),
        stroma=Stroma(density=1.5, collagen=0.52, fibre_px=(60.0, 5.0), clefts=0.15),
        guests=Guests(inflammation=1.2, blood=0.2, pigment=0.02),
    ),
    "Pancreatic": Organ(  # acini with basophilic bases, fibrosis
        palette=Palette(hematoxylin=(-0.04, 0.04, 0.08), eosin=(0.06, 0.02, -0.04), strengths=(1.0, 1.0)),
        architectures={GLANDS: 4, SHEET: 2, STROMA: 3},
        parenchyma=Parenchyma(malignant=0.72, cell_px=1650.0, nuclear_scale=0.9, cytoplasm=(0.31, 0.52), vacuoles=0.05),
        stroma=Stroma(density=1.3, collagen=0.66, fibre_px=(160.0, 10.0), clefts=0.25),
        guests=Guests(inflammation=1.8, blood=0.15, pigment=0.02),
    ),
    "Prostate": Organ(  # glands with tall pale cells in smooth muscle
        palette=Palette(hematoxylin=(0.06, -0.04, 0.06), eosin=(-0.02, 0.04, 0.02), strengths=(0.9, 1.1)),
        architectures={GLANDS: 6, NESTS: 2, STROMA: 2},
        parenchyma=Parenchyma(
            malignant=0.68, cell_px=1600.0, nuclear_scale=0.86, cytoplasm=(0.12, 0.46), vacuoles=0.12
        ),
        stroma=Stroma(density=1.2, collagen=0.74, fibre_px=(180.0, 12.0), clefts=0.1),
        guests=Guests(inflammation=1.2, blood=0.1, pigment=0.03),
    ),
    "Skin": Organ(  # keratin and melanin over coarse dermal collagen
        palette=Palette(hematoxylin=(0.0, -0.05, 0.12), eosin=(-0.06, 0.0, 0.2), strengths=(1.1, 1.3)),
        architectures={SURFACE: 3, NESTS: 3, STROMA: 3},
        parenchyma=Parenchyma(malignant=0.74, cell_px=1700.0, nuclear_scale=1.0, cytoplasm=(0.16, 0.56), vacuoles=0.02),
        stroma=Stroma(density=0.9, collagen=0.9, fibre_px=(130.0, 16.0), clefts=0.35),
        guests=Guests(inflammation=2.5, blood=0.15, pigment=0.5),
    ),
    "Stomach": Organ(  # gastric pits with mucin, oxyntic cells
        palette=Palette(hematoxylin=(-0.06, 0.03, 0.0), eosin=(0.06, -0.02, 0.08), strengths=(1.0, 1.05)),
        architectures={GLANDS: 5, SHEET: 2, STROMA: 2, LYMPHOID: 1},
        parenchyma=Parenchyma(
            malignant=0.74, cell_px=1500.0, nuclear_scale=0.98, cytoplasm=(0.16, 0.62), vacuoles=0.16
        ),
        stroma=Stroma(density=0.8, collagen=0.56, fibre_px=(80.0, 7.0), clefts=0.25),
        guests=Guests(inflammation=5.0, blood=0.25, pigment=0.02),
    ),
    "Testis": Organ(  # seminoma sheets with clear cytoplasm and lymphocytes
        palette=Palette(hematoxylin=(0.04, 0.06, 0.04), eosin=(0.18, -0.04, 0.0), strengths=(1.0, 0.7)),
        architectures={SHEET: 5, NESTS: 2, GLANDS: 2, LYMPHOID: 0.4},
        parenchyma=Parenchyma(malignant=0.82, cell_px=2000.0, nuclear_scale=1.08, cytoplasm=(0.08, 0.3), vacuoles=0.25),
        stroma=Stroma(density=0.8, collagen=0.4, fibre_px=(70.0, 5.0), clefts=0.25),
        guests=Guests(inflammation=5.0, blood=0.15, pigment=0.02),
    ),
    "Thyroid": Organ(  # follicles with colloid
        palette=Palette(hematoxylin=(0.0, 0.02, -0.04), eosin=(0.0, 0.04, 0.0), strengths=(1.0, 0.95)),
        architectures={FOLLICLES: 7, SHEET: 1, STROMA: 1},
        parenchyma=Parenchyma(malignant=0.7, cell_px=1500.0, nuclear_scale=0.84, cytoplasm=(0.14, 0.52), vacuoles=0.02),
        stroma=Stroma(density=0.8, collagen=0.56, fibre_px=(90.0, 8.0), clefts=0.15),
        guests=Guests(inflammation=1.5, blood=0.35, pigment=0.06),
    ),
    "Uterus": Organ(  # endometrial glands, interlacing smooth muscle
        palette=Palette(hematoxylin=(0.08, 0.04, 0.06), eosin=(0.04, -0.02, -0.06), strengths=(1.05, 0.95)),
        architectures={GLANDS: 3, STROMA: 4, SHEET: 1},
        parenchyma=Parenchyma(malignant=0.7, cell_px=1400.0, nuclear_scale=0.98, cytoplasm=(0.22, 0.46), vacuoles=0.04),
        stroma=Stroma(density=1.7, collagen=0.72, fibre_px=(170.0, 9.0), clefts=0.08),
        guests=Guests(inflammation=1.8, blood=0.2, pigment=0.02),
    ),
}
"""One profile for each of `cellvit.taxonomy.ORGANS`."""
