"""The record of a prediction (run.json), with the warnings that a reader needs before using the numbers."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Literal

import torch

from cellvit.formats.bundle import BundleDocument
from cellvit.formats.calibration import COUNT_LEVEL, DecoderCalibration
from cellvit.formats.prediction import ImageFacts, OrganChoice, SlideRun
from cellvit.formats.provenance import Provenance
from cellvit.prediction.findings import Findings
from cellvit.prediction.models import Ensemble
from cellvit.prediction.opened import OpenedImage
from cellvit.prediction.outputs.counts import class_counts
from cellvit.prediction.warnings import doubtful_probabilities, warnings_of

_LIBRARIES: Final = (
    *("cellvit-optimus", "torch", "timm", "numpy", "scipy", "scikit-image", "opencv-python-headless"),
    *("shapely", "tifffile", "imagecodecs", "openslide-python"),
)


def slide_run(
    image: OpenedImage, ensemble: Ensemble, *, organ: OrganChoice, findings: Findings, seconds: Mapping[str, float]
) -> SlideRun:
    """The record of a prediction, without the digests of its files."""
    documents = [model.bundle.document for model in ensemble.models]
    calibrations = _calibrations(ensemble, findings)
    facts = _image_facts(image)
    area_mm2 = image.area.area_mm2(facts.mpp)
    bounds = [calibration.counts if calibration else () for calibration in calibrations]
    return SlideRun(
        provenance=_provenance(documents),
        key=image.key,
        image=facts,
        models=_names(ensemble),
        licence=" ".join(dict.fromkeys(document.licence for document in documents if document.licence)),
        commercial_use=_commercial_use(documents),
        settings=image.request.options,
        organ=organ,
        area=image.area.how,
        area_mm2=area_mm2,
        n_tiles=findings.n_encoded,
        n_judged=findings.n_judged,
        n_unlike=findings.n_unlike,
        n_nuclei=sum(findings.n_by_class.values()),
        counts=class_counts(findings.n_by_class, bounds, area_mm2=area_mm2),
        count_level=next((found.level for found in calibrations if found), COUNT_LEVEL),
        count_unit=_unit(calibrations),
        warnings=(*warnings_of(image, facts, organ, findings), *doubtful_probabilities(calibrations)),
        computed_on=_computed_on(ensemble.device),
        versions=_versions(),
        seconds=dict(seconds),
    )


def _calibrations(ensemble: Ensemble, findings: Findings) -> list[DecoderCalibration | None]:
    """Calibration of the decoder of each bundle."""
    return [
        model.bundle.decoders[decoder.family].calibration
        for model, decoder in zip(ensemble.models, findings.decoders, strict=True)
    ]


def _image_facts(image: OpenedImage) -> ImageFacts:
    slide = image.slide
    assert slide.mpp is not None, "an image without resolution was refused when it was opened"
    return ImageFacts(
        name=image.request.path.name,
        width=slide.width,
        height=slide.height,
        mpp=slide.mpp,
        mpp_source=slide.mpp_source,
        scale=image.pixels.scale,
        kind=slide.kind,
        notes=slide.notes,
    )


def _names(ensemble: Ensemble) -> dict[str, str]:
    """Digest of each bundle by its name; the place is added where a name occurs again."""
    names: dict[str, str] = {}
    for number, model in enumerate(ensemble.models, start=1):
        name = model.bundle.document.name
        names[f"{name} ({number})" if name in names else name] = model.bundle.digest
    return names


def _provenance(documents: Sequence[BundleDocument]) -> Provenance:
    origins = [document.provenance for document in documents]
    return Provenance(
        data_set=origins[0].data_set,
        simulated=any(origin.simulated for origin in origins),
        encoder_mark="; ".join(dict.fromkeys(origin.encoder_mark for origin in origins if origin.encoder_mark)),
    )


def _commercial_use(documents: Sequence[BundleDocument]) -> bool | None:
    """False if any licence forbids it, and None if any is not known."""
    allowed = {document.commercial_use for document in documents}
    return False if False in allowed else None if None in allowed else True


def _unit(calibrations: Sequence[DecoderCalibration | None]) -> Literal["patient", "tile", "none"]:
    """What the bounds of counts are about: tile if that is so for any bundle; none if a bundle has no bounds."""
    units = {found.unit if found and found.counts else "none" for found in calibrations}
    return "none" if "none" in units else "tile" if "tile" in units else "patient"


def _computed_on(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return f"GPU: {torch.cuda.get_device_name(device)}"
    if device.type == "mps":
        return f"GPU of a Mac (mps): {platform.machine()}"
    return f"CPU: {platform.machine()}, {torch.get_num_threads()} threads"


def _versions() -> dict[str, str]:
    """Versions of the libraries that decide results, and of Python."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
