"""Which annotation belongs to which image in a folder, judged by the names of files and folders alone.

An image and its annotation have the same name, apart from a usual ending (``x.png`` and ``x_mask.png``), and lie in the
same folder or in parallel ones (``images/x.png`` and ``labels/x.geojson``). What fits twice is not paired.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from cellvit.data.pair_names import (
    ANNOTATION_FOLDERS,
    CLASS_FOLDERS,
    CLASS_SUFFIXES,
    IMAGE_FOLDERS,
    IMAGE_SUFFIXES,
    base_of,
    is_annotation,
    is_image,
    key_of,
    parents_of,
    position_of,
)
from cellvit.errors import CellvitError

_LEFT_OUT: Final = ("dataset.yaml", "tiles.csv", "readme.md", "package.json")

KindOf = Callable[[Path], str]


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its annotation, as paths from the folder.

    Attributes:
        member: The image in a file of many.
        x, y: Position of an image that QuPath cut from a slide, whose annotation has the coordinates of the slide.
    """

    image: str
    annotation: str
    member: str = ""
    x: int = 0
    y: int = 0


@dataclass(frozen=True, slots=True)
class Pairing:
    """What a folder holds.

    Attributes:
        kind: Format of the annotations; empty if there are none.
        class_file: Pattern of the files with classes beside label maps, as in `Options`; empty if there are none.
        n_class_files: Number of pairs that have such a file.
        other_kinds: Number of annotations of other formats, which are not used.
        lone_images, lone_annotations: Files without a partner.
        ambiguous: Images with several annotations of the format, which are not paired.
        unreadable: Files that look like annotations, and why they are none.
    """

    pairs: tuple[Pair, ...]
    kind: str
    class_file: str
    n_class_files: int
    other_kinds: Mapping[str, int]
    lone_images: tuple[str, ...]
    lone_annotations: tuple[str, ...]
    ambiguous: tuple[str, ...]
    unreadable: tuple[str, ...]


def find_pairs(
    root: Path, kind_of: KindOf, members_of: Callable[[Path], Sequence[str]], *, kind: str | None = None
) -> Pairing:
    """Pair the images of a folder with their annotations.

    Args:
        kind_of: Format of an annotation file or folder; raises a `CellvitError` if it has none that is known.
        members_of: Names of the images in an annotation file of many.
        kind: The format to use; by default the one that most images have.
    """
    images, candidates = _sorted_out(root)
    kinds: dict[str, str] = {}
    unreadable = []
    for path in candidates:
        try:
            kinds[path] = kind_of(root / path)
        except CellvitError as error:
            unreadable.append(str(error))
    counted = Counter(kinds.values())
    chosen = kind or _most_common(images, kinds)
    annotations = [path for path in candidates if kinds.get(path) == chosen]
    if chosen in ("coco", "pannuke", "conic"):
        pairs, ambiguous = _by_member(root, images, annotations, members_of), list[str]()
    else:
        pairs, ambiguous = _by_name(images, annotations)
    paired = {pair.image for pair in pairs} | {pair.annotation for pair in pairs}
    class_file, n_class_files = _class_file(root, pairs) if chosen == "label-map" else ("", 0)
    return Pairing(
        pairs=tuple(sorted(pairs, key=lambda pair: (pair.image, _natural(pair.member)))),
        kind=chosen,
        class_file=class_file,
        n_class_files=n_class_files,
        other_kinds={name: count for name, count in sorted(counted.items()) if name != chosen},
        lone_images=tuple(path for path in images if path not in paired and path not in ambiguous),
        lone_annotations=tuple(path for path in annotations if path not in paired),
        ambiguous=tuple(ambiguous),
        unreadable=tuple(unreadable),
    )


def _sorted_out(root: Path) -> tuple[list[str], list[str]]:
    """Images, and files or folders that may be annotations."""
    files, folders = _walk(root)
    images = [path for path in files if is_image(path)]
    by_base, by_parents = _grouped(images, lambda path: key_of(path)[1]), _grouped(images, parents_of)
    # A folder of masks or ROIs has the name of its image, or lies beside the folder of a single image.
    of_one = {
        path
        for path, inside in folders.items()
        if all(name.lower().endswith((*IMAGE_SUFFIXES, ".roi")) for name in inside)
        and (
            _is_outside(path, by_base[base_of(PurePosixPath(path).name)]) or _is_masks_of_one(path, inside, by_parents)
        )
    }

    def is_inside(path: str) -> bool:
        return any(str(parent) in of_one for parent in PurePosixPath(path).parents)

    annotations = [path for path in files if not is_image(path) and is_annotation(path) and not is_inside(path)]
    return [path for path in images if not is_inside(path)], sorted([*annotations, *of_one])


def _walk(root: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Files, and the names in each folder, as paths from the root; what is hidden is left out."""
    files: list[str] = []
    folders: dict[str, list[str]] = {}
    seen: set[str] = set()
    for home, inner, names in os.walk(root, followlinks=True):
        if (real := os.path.realpath(home)) in seen:  # a link to a folder above would have no end
            inner.clear()
            continue
        seen.add(real)
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        place = Path(home).relative_to(root)
        kept = sorted(name for name in names if not name.startswith(".") and name.lower() not in _LEFT_OUT)
        files += [(place / name).as_posix() for name in kept]
        if kept and place != Path() and not inner:
            folders[place.as_posix()] = kept
    return files, folders


def _is_outside(folder: str, images: Sequence[str]) -> bool:
    """True if one of the images lies in another folder."""
    return any(str(PurePosixPath(image).parent) != folder for image in images)


def _is_masks_of_one(folder: str, inside: Sequence[str], by_parents: Mapping[object, Sequence[str]]) -> bool:
    """True for masks/ beside images/ with a single image, as in the layout of the Data Science Bowl 2018."""
    is_named_so = PurePosixPath(folder).name.lower() in ANNOTATION_FOLDERS and len(inside) > 1
    return is_named_so and len(by_parents.get(parents_of(f"{folder}/x"), ())) == 1


def _most_common(images: Sequence[str], kinds: Mapping[str, str]) -> str:
    """The format that pairs most images; a file of many counts for all."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for path, kind in kinds.items():
        by_kind[kind].append(path)
    n_paired = {
        kind: max(len(images), 1) if kind in ("coco", "pannuke", "conic") else len(_by_name(images, paths)[0])
        for kind, paths in by_kind.items()
    }
    best = max(sorted(n_paired), key=lambda kind: n_paired[kind], default="")
    return best if n_paired.get(best) else ""


def _by_name(images: Sequence[str], annotations: Sequence[str]) -> tuple[list[Pair], list[str]]:
    """Pairs by folder and name; by a name that is unique in the whole folder; then masks/ beside images/ with one image.
    And the images with several annotations."""
    pairs: list[Pair] = []
    ambiguous: list[str] = []
    left, free = list(images), list(annotations)
    for key in (key_of, lambda path: key_of(path)[1], parents_of):
        if key is parents_of:
            free = [path for path in free if PurePosixPath(path).name.lower() in ANNOTATION_FOLDERS]
        of_image, of_annotation = _grouped(left, key), _grouped(free, key)
        for name, some in of_image.items():
            partners = of_annotation.get(name, [])
            if len(partners) == 1 and (len(some) == 1 or all(map(position_of, some))):
                pairs += [Pair(image, partners[0], "", *(position_of(image) or (0, 0))) for image in some]
            elif partners and key is key_of:
                ambiguous += some
        paired = {pair.image for pair in pairs} | {pair.annotation for pair in pairs}
        left = [path for path in left if path not in paired and path not in ambiguous]
        free = [path for path in free if path not in paired]
    return pairs, ambiguous


def _by_member(
    root: Path, images: Sequence[str], annotations: Sequence[str], members_of: Callable[[Path], Sequence[str]]
) -> list[Pair]:
    pairs: dict[str, Pair] = {}
    by_name = _grouped(images, lambda path: PurePosixPath(path).name)
    for annotation in annotations:
        array = _array_beside(root, annotation)
        for member in members_of(root / annotation):
            if array:
                pairs[f"{array} {member}"] = Pair(array, annotation, member)
            elif len(some := by_name.get(PurePosixPath(member).name, [])) == 1:
                pairs[some[0]] = Pair(some[0], annotation, member)
    return list(pairs.values())


def _array_beside(root: Path, annotation: str) -> str:
    """The array of images that belongs to an array of annotations; empty if there is none."""
    if not annotation.endswith(".npy"):
        return ""
    home = PurePosixPath(annotation).parent
    places = (home, home.parent, *(home.parent / name for name in IMAGE_FOLDERS))
    return next((str(place / "images.npy") for place in places if (root / place / "images.npy").is_file()), "")


def _class_file(root: Path, pairs: Sequence[Pair]) -> tuple[str, int]:
    """The pattern by which most annotations have a file of classes, and how many have one."""
    patterns = [
        *(f"{{name}}_{end}{suffix}" for end in ("class", "classes", "type", "types") for suffix in CLASS_SUFFIXES),
        "{name}.csv",
        *(f"../{folder}/{{name}}{suffix}" for folder in CLASS_FOLDERS for suffix in CLASS_SUFFIXES),
    ]
    n_files = {pattern: sum(_has(root, pair, pattern) for pair in pairs) for pattern in patterns}
    pattern = max(patterns, key=lambda pattern: n_files[pattern])
    return (pattern, n_files[pattern]) if n_files[pattern] else ("", 0)


def _has(root: Path, pair: Pair, pattern: str) -> bool:
    annotation = root / pair.annotation
    return (annotation.parent / pattern.replace("{name}", annotation.stem)).is_file()


def _grouped(paths: Iterable[str], key: Callable[[str], object]) -> dict[object, list[str]]:
    groups: dict[object, list[str]] = defaultdict(list)
    for path in paths:
        groups[key(path)].append(path)
    return groups


def _natural(text: str) -> tuple[int, str]:
    return (int(text), "") if text.isdigit() else (0, text)
