"""Parts of `dataset.yaml` that are nested: classes, and how the annotation files are read; names as people write them."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from cellvit.config.base import Section


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError(f"must be printable, found {name!r}")
    return name


def _number_as_text(value: object) -> object:
    """Types of MATLAB files are numbers; a person writes 1 for them, which YAML reads as a number."""
    return str(value) if type(value) is int else value


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64), AfterValidator(_printable)]
_Written = Annotated[Name, BeforeValidator(_number_as_text)]
_Id = Annotated[int, Field(ge=1)]


class OwnClass(Section):
    """A nuclear class, and how the annotations write it."""

    name: Name = Field(description="name of the class in results and on pages", examples=["Neuron"])
    color: Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")] = Field(
        description="colour of the contours, in quotes", examples=['"#f0e442"']
    )
    names: tuple[_Written, ...] = Field(
        default=(),
        description="how the annotation files write the class; its own name if this is left out",
        examples=['[neuron, "Neuron: NeuN+", 1]'],
    )

    @property
    def written(self) -> tuple[str, ...]:
        """How the annotation files write the class."""
        return self.names or (self.name,)


class AnnotationFiles(Section):
    """How the annotation files are read: `cellvit.data.annotations.options.Options`, and their format."""

    kind: str | None = Field(
        default=None,
        description="format of the annotation files; each file is looked at if this is left out",
        examples=["geojson"],
    )
    class_file: str = Field(
        default="",
        description="for label maps: file with the classes beside each annotation, with {name} for the annotation's name",
        examples=['"{name}_class.png"'],
    )
    value_ranges: dict[str, tuple[_Id, _Id]] = Field(
        default_factory=dict,
        description="for label maps whose ids tell the class: first and last id of each class",
        examples=["{Neuron: [1, 999], Glia: [1000, 1999]}"],
    )
    not_annotated_file: str = Field(
        default="",
        description=(
            "for arrays of pixels: mask beside each annotation that is not 0 where the image is not annotated, with {name} "
            "for the annotation's name"
        ),
        examples=['"{name}_ambiguous.png"'],
    )
    region_classes: tuple[_Written, ...] = Field(
        default=(),
        description="classes whose outlines enclose the annotated region; outside of all of them nothing counts",
        examples=["[Region]"],
    )
    not_annotated: tuple[_Written, ...] = Field(
        default=("ignore*",),
        description="classes whose outlines enclose regions that count nowhere (lower case, * for anything)",
        examples=['["ignore*", "artefact"]'],
    )
    min_score: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="predicted nuclei with a lower score are left out", examples=["0.5"]
    )
