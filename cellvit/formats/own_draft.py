"""Draft of `dataset.yaml`: what is known is filled in, what is not is left open with a comment that says what to write."""

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cellvit.formats.own_description import OPEN, REFUSED, field_help

PALETTE: Final = ("#f0e442", "#35e0f0", "#ff6a00", "#ffffff", "#009e73", "#0072b2", "#000000")
"""Colours of classes in their order. Those of Okabe and Ito, whose pairs people without red-green vision tell apart, without
those of H&E (violet, pink); sky blue and orange are stronger, so that thin contours on tissue show them."""

_WIDTH: Final = 110


@dataclass(frozen=True, slots=True)
class DraftClass:
    """A class, how the annotations write it, and a remark."""

    name: str
    written: tuple[str, ...]
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is known of a data set before a person describes it.

    Attributes:
        mpp: None if every image states it, `OPEN` if it is not known.
        mpp_remark: What the images state.
        n_unlabelled: Nuclei without a class.
        unlabelled: What they become; `OPEN` if that is not known.
        annotations: The entries of `annotations`.
    """

    name: str
    mpp: float | str | None
    mpp_remark: str
    classes: tuple[DraftClass, ...]
    n_unlabelled: int
    unlabelled: str
    annotations: Mapping[str, object] = field(default_factory=dict)

    @property
    def open_fields(self) -> tuple[str, ...]:
        """Fields that a person must fill in."""
        stated = {"mpp": self.mpp, "unlabelled": self.unlabelled, "licence": OPEN}
        return tuple(name for name, value in stated.items() if value == OPEN)


def draft_classes(names: Mapping[str, str]) -> tuple[DraftClass, ...]:
    """Classes from the names that annotations write, with a remark each; spellings that differ in case are one class.

    Examples:
        >>> draft_classes({"glia": "", "Glia": "", "2": ""})
        (DraftClass(name='glia', written=('glia', 'Glia'), remark=''), DraftClass(name='Class 2', written=('2',), remark=''))
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(re.sub(r"\W+", "_", name.lower()).strip("_") or name, []).append(name)
    return tuple(
        DraftClass(
            f"Class {written[0]}" if re.fullmatch(r"[\W\d_]+", written[0]) else written[0][:64],
            tuple(written),
            "; ".join(filter(None, (names[one] for one in written))),
        )
        for written in groups.values()
    )


def draft_text(draft: Draft) -> str:
    """The text of dataset.yaml."""
    without = f"{draft.n_unlabelled:,} nuclei have no class" if draft.n_unlabelled else "no such nucleus was found"
    return "".join(
        (
            f'# Description of this data set. Replace every "{OPEN}": a run refuses fields that are still open.\n'
            "# All fields: docs/own_data.md\n\n",
            _entry("name", draft.name),
            _entry("mpp", draft.mpp, draft.mpp_remark),
            _comment(field_help(("classes",))[0] + "; `names` is how the annotations write a class"),
            "classes:\n",
            *_class_lines(draft.classes),
            "\n",
            _entry("unlabelled", draft.unlabelled, without),
            _entry("unknown", REFUSED, "all classes that were found are listed above"),
            _entry("licence", OPEN),
            _entry("commercial_use", None),
            _comment(field_help(("annotations",))[0]),
            "annotations:\n",
            *(f"  {key}: {_scalar(value)}\n" for key, value in draft.annotations.items()),
        )
    )


def _entry(name: str, value: object, remark: str = "") -> str:
    meaning, example = field_help((name,))
    sentence = meaning[0].upper() + meaning[1:]
    lines = f"{sentence}. Example: {example}" if value == OPEN else sentence
    return _comment(lines, *([f"Found: {remark}."] if remark else [])) + f"{name}: {_scalar(value)}\n\n"


def _class_lines(classes: Sequence[DraftClass]) -> list[str]:
    lines = []
    for number, one in enumerate(classes):
        color = PALETTE[number % len(PALETTE)]
        written = ", ".join(map(_scalar, one.written))
        remark = f"  # {one.remark}" if one.remark else ""
        lines.append(f'  - {{name: {_scalar(one.name)}, color: "{color}", names: [{written}]}}{remark}\n')
    return lines


def _comment(*paragraphs: str) -> str:
    wrapped = (textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False) for text in paragraphs)
    return "".join(f"# {line}\n" for lines in wrapped for line in lines)


def _scalar(value: object) -> str:
    """A value in YAML; text is quoted, so that no sign in it has a meaning."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value, ensure_ascii=False)
