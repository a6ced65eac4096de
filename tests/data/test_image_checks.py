"""All checks together: what explains other findings stands alone, and sound data has none."""

import cv2
import numpy as np

from cellvit.data.image_checks import ImageChecks
from cellvit.data.simulate.tile import simulate_tile
from cellvit.hover.relabel import paint_channels
from cellvit.taxonomy import CLASS_NAMES, ORGANS


def tissue(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A tile of blue nuclei on pink ground."""
    rng = np.random.default_rng(seed)
    instances = np.zeros((256, 256), np.int32)
    for label, (y, x) in enumerate(rng.integers(12, 244, (40, 2)), start=1):
        cv2.circle(instances, (int(x), int(y)), 7, label, -1)
    image = np.where(instances[..., None] > 0, (100, 70, 150), (225, 170, 205)) + rng.normal(0, 12, (256, 256, 1))
    return np.clip(image, 0, 255).astype(np.uint8), instances


def checks_of(tiles: list[tuple[np.ndarray, np.ndarray]], *, mpp: float = 0.25) -> list[tuple[str, bool]]:
    checks = ImageChecks(("Background", "Nucleus"), mpp=mpp)
    for number, (image, instances) in enumerate(tiles):
        checks.add(f"{number}.png", image, instances, (instances > 0).astype(np.uint8))
    return [(finding.kind, finding.stops) for finding in checks.findings()]


def test_sound_data_has_no_findings():
    assert checks_of([tissue(seed) for seed in range(5)]) == []
    assert checks_of([]) == []


def test_mirrored_masks_stop_with_their_cause():
    checks = ImageChecks(("Background", "Nucleus"), mpp=0.25)
    for number in range(6):
        image, instances = tissue(number)
        checks.add(
            f"{number}.png", image, np.ascontiguousarray(instances[:, ::-1]), (instances > 0)[:, ::-1].astype(np.uint8)
        )

    (finding,) = checks.findings()

    assert finding.stops
    assert "The masks seem to be mirrored left to right." in finding.message


def test_binary_masks_are_the_only_finding_about_the_masks():
    assert checks_of([(image, (instances > 0).astype(np.int32)) for image, instances in map(tissue, range(5))]) == [
        ("binary_masks", True)
    ]


def test_a_wrong_resolution_is_the_only_finding_about_the_masks():
    assert checks_of([tissue(seed) for seed in range(5)], mpp=2.0) == [("resolution", True)]


def test_a_black_tile_among_others_stops():
    black = np.zeros((256, 256, 3), np.uint8), np.zeros((256, 256), np.int32)

    assert checks_of([tissue(0), black, tissue(1)]) == [("constant_image", True)]


def test_simulated_tiles_do_not_stop_a_run():
    rng, checks = np.random.default_rng(0), ImageChecks(CLASS_NAMES, mpp=0.25)
    for row, organ in enumerate(ORGANS):
        tile = simulate_tile(organ, rng, empty=row == 3)
        painted = paint_channels(tile.masks[..., :-1])
        checks.add(f"{row}", np.rint(tile.image).astype(np.uint8), painted.instances, painted.classes)

    findings = checks.findings()
    assert not any(finding.stops for finding in findings)
    assert sum(len(finding.places) for finding in findings) <= 1  # simulated nuclei may be as pale as their ground
