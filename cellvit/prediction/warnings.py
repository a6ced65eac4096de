"""What a reader of a prediction must know before using its numbers, in words."""

from collections.abc import Iterator, Sequence
from typing import Final

from cellvit.formats.calibration import DecoderCalibration
from cellvit.formats.prediction import ImageFacts, OrganChoice
from cellvit.prediction.findings import Findings
from cellvit.prediction.opened import OpenedImage

_UNCERTAIN: Final = 0.5
"""Mean probability of the predicted organ below which it is called uncertain (decision)."""

_MANY_UNLIKE: Final = 0.05
"""Share of unlike tiles above which there is a warning (decision): 0.01 is expected by the threshold."""

_STRETCHED: Final = 2.0
"""Factor of resampling above which there is a warning (decision): 10x images show no chromatin."""

_MISCALIBRATED: Final = 0.1
"""Calibration error above which probabilities are called not reliable (decision): 90 % would mean less than 80 % or so."""


def warnings_of(image: OpenedImage, facts: ImageFacts, organ: OrganChoice, findings: Findings) -> Iterator[str]:
    """What was found in the image, and how the image was made to fit the models."""
    if not image.plan.active.any():
        yield f"Nothing was analysed: {image.area.how}. Choose the area with --area whole, --region or --regions."
    elif not sum(findings.n_by_class.values()):
        yield "No nuclei were found in the analysed area."
    if organ.chosen_by == "predicted" and organ.votes[organ.organ] < _UNCERTAIN:
        yield (
            f"The organ is uncertain: {organ.organ} has a mean probability of {organ.votes[organ.organ]:.2f}. If you know the "
            "organ, give it with --organ."
        )
    if findings.n_judged and findings.n_unlike / findings.n_judged > _MANY_UNLIKE:
        yield (
            f"{findings.n_unlike} of {findings.n_judged} tiles ({findings.n_unlike / findings.n_judged:.0%}) are unlike the "
            "training data. Look at the marked tiles before you use the counts."
        )
    if max(facts.scale, 1 / facts.scale) > _STRETCHED:
        yield (
            f"The image has {facts.mpp:.3g} um per pixel and was resampled by a factor of {1 / facts.scale:.2g}: details that "
            "the models need may be missing."
        )
    if image.request.settings.mpp is not None:
        yield f"The resolution of {facts.mpp:.4g} um per pixel was given by hand ({facts.mpp_source})."


def doubtful_probabilities(calibrations: Sequence[DecoderCalibration | None]) -> Iterator[str]:
    """What the test tiles of the models say of the class probabilities."""
    errors = [found.after.error for found in calibrations if found and found.after]
    if errors and max(errors) > _MISCALIBRATED:
        yield (
            f"The class probabilities are not reliable: on the test tiles of the model they differ from the share of right classes "
            f"by {max(errors):.2f} on average (calibration error). The classes themselves and the counts do not depend on them."
        )
