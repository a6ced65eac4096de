"""Command `init_dataset`: draft the two files that describe a folder of your images and annotations.

Example: cellvit init_dataset my_tiles
"""

import argparse
import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast, get_args

from tqdm import tqdm

from cellvit.data import npy
from cellvit.data.annotations.options import Kind, Options
from cellvit.data.annotations.read import kind_of
from cellvit.data.own_rules import meaning_of
from cellvit.data.pairing import Pairing, find_pairs
from cellvit.data.survey import FoundClass, Survey, survey
from cellvit.errors import ContractError, MissingInputError
from cellvit.formats.atomic import write_text
from cellvit.formats.own_description import DESCRIPTION, OPEN, REFUSED
from cellvit.formats.own_draft import Draft, DraftClass, draft_classes, draft_text
from cellvit.formats.own_tiles import TABLE, OwnTile, write_own_tiles

_LISTED: Final = 10
"""Names of a kind that are printed; the others are counted."""

_REGION_RATIO: Final = 4
"""A class whose outlines are so many times wider than all others is likely a region (decision)."""

_REGION_SIGN: Final = "*"
"""Classes of QuPath that end so ("Region*") are regions by its convention, and are not counted as objects there."""

_ONE_CLASS: Final = "Nucleus"

_EPILOG: Final = """\
examples:
  cellvit init_dataset my_tiles
      pairs images with annotations, prints what it found, writes my_tiles/dataset.yaml and my_tiles/tiles.csv

Images and annotations have the same name (x.png and x.geojson, x_mask.png, x_seg.npy, or a folder x of masks), in one
folder or in parallel ones (images/ and labels/); or one COCO file names all images. docs/own_data.md shows every step.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, _EPILOG
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of images and annotations")
    kinds = get_args(Kind)
    parser.add_argument("--kind", choices=kinds, help="format of the annotations, if the folder has several")
    parser.add_argument("--force", action="store_true", help="replace dataset.yaml and tiles.csv if they exist")


def run(args: argparse.Namespace) -> None:
    """Print what the folder holds, and write the drafts.

    Raises:
        MissingInputError: The folder does not exist, or holds no image with an annotation.
        ContractError: It is described already.
    """
    folder, force = args.folder, args.force
    _check(folder, force=force)
    pairing = find_pairs(folder, kind_of, _members_of, kind=args.kind)
    sys.stdout.write("".join(f"{line}\n" for line in _pairing_lines(folder, pairing)))
    if not pairing.pairs:
        raise MissingInputError(
            f"{folder}: no image with an annotation was found. Fix: give an image and its annotation the same name, as "
            "x.png and x.geojson; docs/own_data.md shows the layouts."
        )
    shown = tqdm(pairing.pairs, desc="reading", unit="image", disable=None)
    found = survey(folder, shown, cast(Kind, pairing.kind), Options(class_file=_class_file(pairing)))
    sys.stdout.write("".join(f"{line}\n" for line in _survey_lines(found)))
    draft = _draft(folder, pairing, found)
    write_text(folder / DESCRIPTION, draft_text(draft))
    write_own_tiles(
        folder / TABLE,
        [OwnTile(one.image, one.annotation, member=one.member, x=one.x, y=one.y) for one in pairing.pairs],
    )
    sys.stdout.write("".join(f"{line}\n" for line in _next_lines(folder, draft)))


def _check(folder: Path, *, force: bool) -> None:
    if not folder.is_dir():
        raise MissingInputError(f"{folder}: the folder does not exist. Fix: correct its name")
    existing = [str(folder / name) for name in (DESCRIPTION, TABLE) if (folder / name).exists()]
    if existing and not force:
        raise ContractError(
            f"{' and '.join(existing)} exist already, and were not changed. Fix: edit them, or replace both by drafts:  "
            f"python -m cellvit init_dataset {shlex.quote(str(folder))} --force"
        )


def _class_file(pairing: Pairing) -> str:
    """The pattern of files with classes, if every annotation has one."""
    return pairing.class_file if pairing.n_class_files == len(pairing.pairs) else ""


def _members_of(path: Path) -> Sequence[str]:
    """Names of the images in an annotation file of many: files in COCO, rows of an array."""
    if path.suffix == ".npy":
        return [str(row) for row in range(len(npy.open_array(path)))]
    try:
        document: Any = json.loads(path.read_bytes())
        return [str(image["file_name"]) for image in document["images"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ContractError(
            f"{path}: expected COCO with the file names of its images, found other content ({type(error).__name__}). "
            "Fix: export the annotations again."
        ) from error


def _pairing_lines(folder: Path, pairing: Pairing) -> Iterator[str]:
    n_annotations = len({pair.annotation for pair in pairing.pairs})
    yield f"{folder}: {len(pairing.pairs)} images with annotations ({pairing.kind or 'none'}, {n_annotations} files)"
    if pairing.class_file and not _class_file(pairing):
        yield (
            f"  not used: classes in {pairing.class_file}, because {pairing.n_class_files} of the annotations have such a file and the "
            "others have none"
        )
    elif pairing.class_file:
        yield f"  classes of each image in: {pairing.class_file}"
    for kind, count in pairing.other_kinds.items():
        yield f"  not used: {count} annotations of the format {kind}; choose it by --kind {kind}"
    yield from _listed("images without annotation, left out", pairing.lone_images)
    yield from _listed("annotations without image, left out", pairing.lone_annotations)
    yield from _listed("images with several annotations, left out", pairing.ambiguous)
    yield from _listed("files that cannot be read as annotations", pairing.unreadable)


def _survey_lines(found: Survey) -> Iterator[str]:
    n_nuclei = sorted(found.n_nuclei)
    if n_nuclei:
        middle = n_nuclei[len(n_nuclei) // 2]
        yield f"  nuclei: {sum(n_nuclei):,} ({n_nuclei[0]} to {n_nuclei[-1]} in an image, median {middle})"
    sizes = sorted(found.sizes.items(), key=lambda entry: (-entry[1], entry[0]))
    yield from _listed("sizes in px", [f"{width} x {height}: {n} images" for (width, height), n in sizes])
    yield from _listed(
        "resolutions that the images state", [_resolution(*entry) for entry in found.resolutions.items()]
    )
    classes = [f"{one.name or '(no class)'}: {one.n:,}, median {one.diameter_px:.0f} px wide" for one in found.classes]
    yield from _listed("classes of nuclei", classes)
    yield from _listed("dropped or changed", [f"{n:,} {meaning_of(rule)}" for rule, n in found.counts.items()])
    yield from _listed("images or annotations that cannot be read", found.faults)


def _resolution(stated: tuple[float | None, str], n: int) -> str:
    mpp, entry = stated
    return f"none: {n} images" if mpp is None else f"{mpp:g} um per pixel ({entry}): {n} images"


def _listed(what: str, entries: Sequence[str]) -> Iterator[str]:
    if entries:
        yield f"  {what}:"
        yield from (f"    {entry}" for entry in entries[:_LISTED])
        if len(entries) > _LISTED:
            yield f"    and {len(entries) - _LISTED} more"


def _draft(folder: Path, pairing: Pairing, found: Survey) -> Draft:
    mpp, remark = _mpp(found)
    regions = [one.name for one in found.classes if one.name.endswith(_REGION_SIGN)]
    remarks = _remarks([one for one in found.classes if one.name and one.name not in regions])
    annotations: dict[str, object] = {"kind": pairing.kind}
    if _class_file(pairing):
        annotations["class_file"] = pairing.class_file
    if regions:
        annotations["region_classes"] = regions
    n_unlabelled = found.n_without_class
    fallback = REFUSED if not n_unlabelled else OPEN if remarks else _ONE_CLASS
    return Draft(
        name=folder.resolve().name[:64],
        mpp=mpp,
        mpp_remark=remark,
        classes=draft_classes(remarks) or (DraftClass(_ONE_CLASS, (_ONE_CLASS,), "the annotations have no classes"),),
        n_unlabelled=n_unlabelled,
        unlabelled=fallback,
        annotations=annotations,
    )


def _mpp(found: Survey) -> tuple[float | str | None, str]:
    """What the draft says of the resolution; it stays open unless every image states it."""
    by_value: Counter[float | None] = Counter()
    for stated, n in found.resolutions.items():
        by_value[stated.mpp] += n
    values = ", ".join(f"{n} images with {mpp:g}" for mpp, n in by_value.items() if mpp is not None)
    if not by_value or None in by_value:
        return OPEN, "; ".join(filter(None, [f"{by_value[None]} images do not state it", values]))
    return (next(iter(by_value)) if len(by_value) == 1 else None), f"every image states it: {values}"


def _remarks(classes: Sequence[FoundClass]) -> Mapping[str, str]:
    """Each class with its number of nuclei, and a warning about outlines as wide as a region."""
    remarks = {}
    for one in classes:
        others = [other.diameter_px for other in classes if other.name != one.name]
        is_wide = bool(others) and one.diameter_px > _REGION_RATIO * max(others)
        region = (
            f", {one.diameter_px:.0f} px wide: if they are not nuclei, move the class to annotations.region_classes"
        )
        remarks[one.name] = f"{one.n:,} nuclei{region if is_wide else ''}"
    return remarks


def _next_lines(folder: Path, draft: Draft) -> Iterator[str]:
    yield f"\nWritten: {folder / DESCRIPTION}, {folder / TABLE}"
    yield f"Now fill in what is open in {folder / DESCRIPTION}: {', '.join(draft.open_fields)}."
    yield f"Check the classes there; write the patient of each image (and its organ) into {folder / TABLE} if you know it:"
    yield "images of one patient must not be in training and test."
    yield f"Then look at the annotations:  python -m cellvit show {shlex.quote(str(folder))}"
