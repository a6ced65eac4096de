"""MATLAB files with an instance map, as HoVer-Net, CoNSeP, Lizard and Kumar have them."""

from collections import Counter
from pathlib import Path
from typing import Final

import numpy as np

from cellvit.data.annotations.annotation import Annotation
from cellvit.data.annotations.labels import Ids, annotation_of_ids, checked_ids, classes_of_most_pixels
from cellvit.data.annotations.matlab_file import MatlabFile, read_matlab_file
from cellvit.data.annotations.options import Options, Place
from cellvit.data.annotations.pixel_maps import check_single, not_annotated_region
from cellvit.errors import ContractError

_WANTED: Final = ("inst_map", "type_map", "inst_type", "class", "id")


def read_matlab(path: Path, shape: tuple[int, int], options: Options, place: Place) -> Annotation:
    """Nuclei of `inst_map`, in the order of their ids.

    Classes are those of `id` and `class` (Lizard), else of `inst_type`, which has one class for each id in ascending
    order (HoVer-Net), else those of most pixels in `type_map`. Kumar has none.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is damaged, has no inst_map of the shape of the image, or classes that do not fit it.
    """
    check_single(path, place)
    file = read_matlab_file(path, _WANTED)
    if "inst_map" not in file.numeric:
        raise ContractError(
            f"{path}: expected the variable inst_map, an array of numbers, found {', '.join(file.names) or 'no variable'}. "
            "Fix: export the instance map; centroids, outlines and classes alone give no nuclei."
        )
    ids = checked_ids(path, file.numeric["inst_map"], shape, what="inst_map", doubles=True)
    counts: Counter[str] = Counter()
    classes = _listed_classes(path, file, ids, counts)
    if "type_map" in file.numeric:
        type_map = checked_ids(path, file.numeric["type_map"], shape, what="type_map", doubles=True)
        by_pixels = classes_of_most_pixels(path, ids, type_map, counts)
        counts["class_contradictions"] = sum(classes[number] != by_pixels.get(number, "") for number in classes)
        classes = classes or by_pixels
    return annotation_of_ids(path, ids, classes, counts, not_annotated_region(path, shape, options))


def _listed_classes(path: Path, file: MatlabFile, ids: Ids, counts: Counter[str]) -> dict[int, str]:
    """Class of each id of the map by the lists of the file; empty without such a list."""
    own = [number for number in np.unique(ids).tolist() if number]
    name = next((name for name in ("class", "inst_type") if name in file.numeric), "")
    if not name:
        return {}
    types = _whole_numbers(path, name, file.numeric[name])
    if "id" in file.numeric:
        listed = _whole_numbers(path, "id", file.numeric["id"])
        if len(listed) != len(types) or len(set(listed)) != len(listed):
            raise ContractError(
                f"{path}: expected one entry of {name} for each of the different ids in id, found {len(types)} for {len(listed)} ids, "
                f"of which {len(set(listed))} are different. Fix: export the file again."
            )
        counts["ids_without_nucleus"] += len(set(listed) - set(own))
        by_id = dict(zip(listed, types, strict=True))
    elif len(types) == len(own):
        by_id = dict(zip(own, types, strict=True))
    else:
        raise ContractError(
            f"{path}: expected one entry of {name} for each of the {len(own)} nuclei of inst_map, found {len(types)}: which belongs to "
            f"which is not known. Fix: add the ids as variable id, or remove {name} and give the classes as type_map."
        )
    return {number: str(by_id.get(number, 0) or "") for number in own}


def _whole_numbers(path: Path, name: str, array: np.ndarray) -> list[int]:
    values = array.reshape(-1, order="F").astype(np.float64)
    wrong = ~((values >= 0) & (values <= 2**53) & (values == np.floor(values)))  # NaN is wrong too
    if wrong.any():
        raise ContractError(
            f"{path}: {name} must hold whole numbers from 0, found {values[wrong][0]}. Fix: save numbers of classes."
        )
    return [int(value) for value in values]
